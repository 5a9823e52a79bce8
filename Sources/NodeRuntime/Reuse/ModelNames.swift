// With which models this node recognises a language, as results name them, without loading one.

internal import ClusterModel
import OCR
import Synchronization

/// What results of this node will say about their models. Digests are computed once for each state of a model's file.
final class ModelNames: Sendable {
    private struct Computed {
        let facts: ModelFacts
        let digest: String
    }

    private struct State {
        /// As results said: a model may bring others that the specification does not name.
        var learned: [String: String] = [:]
        var computed: [String: Computed] = [:]
    }

    private let directory: String
    private let state = Mutex(State())

    /// Specifications that are remembered; beyond them all are learned again.
    private static let learnedCount = 1_024

    init(directory: String) { self.directory = directory }

    /// "deu:<16 hexadecimal digits>,eng:…"; nil when a model is not there. Blocks while models are read (some 15 MB each).
    ///
    /// A guess until a result has come: then what it said.
    func models(of language: String) -> String? {
        if let learned = state.withLock({ $0.learned[language] }) { return learned }
        guard let names = LanguageSpecification.names(in: language) else { return nil }
        var parts: [String] = []
        for name in names {
            guard let digest = digest(of: name) else { return nil }
            parts.append("\(name):\(digest)")
        }
        return parts.joined(separator: ",")
    }

    /// A worker of this node has recognised something.
    func learn(_ models: String, of language: String) {
        state.withLock { state in
            if state.learned.count >= Self.learnedCount { state.learned = [:] }
            state.learned[language] = models
        }
    }

    private func digest(of name: String) -> String? {
        guard let facts = ModelDirectory.facts(of: name, in: directory) else { return nil }
        if let known = state.withLock({ $0.computed[name] }), known.facts == facts { return known.digest }
        guard let digest = try? ModelDirectory.digest(of: name, in: directory) else { return nil }
        state.withLock { $0.computed[name] = Computed(facts: facts, digest: digest) }
        return digest
    }
}
