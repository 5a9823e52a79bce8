// Where Tesseract's models are, which there are, and which package has one that is missing.

import ClusterModel
import Crypto

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A state of a model's file.
package struct ModelFacts: Hashable, Sendable {
    let inode: UInt64
    let byteCount: Int64
    let modifiedSeconds: Int64
    let modifiedNanoseconds: Int64
}

/// Directories of `*.traineddata` files.
package enum ModelDirectory {
    private static let suffix = ".traineddata"

    private static let usualPlaces = [
        "/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata",
        "/usr/share/tesseract/tessdata", "/usr/local/share/tessdata",
    ]

    /// The directory to use: `configured` and nothing else if it is given, else `TESSDATA_PREFIX`, else where
    /// distributions put it. Nil if there is none with a model in it.
    package static func locate(configured: String?) -> String? {
        if let configured { return withModels(configured) }
        if let prefix = getenv("TESSDATA_PREFIX").map({ String(cString: $0) }), !prefix.isEmpty,
            let directory = withModels(prefix)
        {
            return directory
        }
        return usualPlaces.lazy.compactMap(withModels).first
    }

    /// The directory of the better models: `configured` if it is given, else `tessdata_best` beside the directory of the
    /// others. Nil if there is none with a model in it.
    package static func locateBest(configured: String?, beside directory: String) -> String? {
        if let configured { return withModels(configured) }
        let parent = directory.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return withModels(parent + "/tessdata_best")
    }

    /// `directory`, or the `tessdata` in it (what TESSDATA_PREFIX once meant), if it has models.
    private static func withModels(_ directory: String) -> String? {
        [directory, directory + "/tessdata"].first { !installed(in: $0).isEmpty }
    }

    /// Names of the languages and scripts that a directory has models for: "deu", "script/Fraktur". `osd` and `equ` are
    /// no languages and are left out.
    package static func installed(in directory: String) -> Set<String> {
        var names = Set(models(in: directory))
        for name in models(in: directory + "/script") { names.insert("script/" + name) }
        return names.subtracting(["osd", "equ"])
    }

    /// The names of a specification that have no model in a directory, in its order. A malformed specification is
    /// missing as a whole.
    package static func missing(specification: String, in directory: String) -> [String] {
        guard let names = LanguageSpecification.names(in: specification) else { return [specification] }
        return names.filter { access(path(of: $0, in: directory), R_OK) != 0 }
    }

    /// Whether page segmentation with orientation detection (modes 1 and 12) can work.
    package static func hasOrientationModel(in directory: String) -> Bool {
        access(path(of: "osd", in: directory), R_OK) == 0
    }

    /// Whether the font of PDFs is there.
    package static func hasDocumentFont(in directory: String) -> Bool { access(directory + "/pdf.ttf", R_OK) == 0 }

    /// The Debian package of a model: "chi_sim" is in `tesseract-ocr-chi-sim`, "script/Fraktur" in
    /// `tesseract-ocr-script-frak`.
    package static func debianPackage(for language: String) -> String {
        let name = language.split(separator: "/").last.map(String.init) ?? language
        let isVertical = name.hasSuffix("_vert")
        let script = isVertical ? String(name.dropLast(5)) : name
        if let code = scriptCodes[script] { return "tesseract-ocr-script-\(code)\(isVertical ? "-vert" : "")" }
        return "tesseract-ocr-" + String(name.lowercased().map { $0 == "_" ? "-" : $0 })
    }

    /// First 16 hexadecimal digits of a model's SHA-256.
    ///
    /// - Throws: `engineError` if it cannot be read.
    package static func digest(of language: String, in directory: String) throws(Failure) -> String {
        let path = path(of: language, in: directory)
        guard let file = fopen(path, "rbe") else { throw Failure(.engineError, "\(path): cannot be opened") }
        defer { fclose(file) }
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { break }
            buffer.withUnsafeBytes { hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        guard ferror(file) == 0 else { throw Failure(.engineError, "\(path): cannot be read") }
        let digits = Array("0123456789abcdef")
        return String(hash.finalize().prefix(8).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }

    /// What tells one state of a model's file from another; nil when it is not there.
    package static func facts(of language: String, in directory: String) -> ModelFacts? {
        var facts = stat()
        guard stat(path(of: language, in: directory), &facts) == 0 else { return nil }
        return ModelFacts(
            inode: UInt64(facts.st_ino), byteCount: Int64(facts.st_size), modifiedSeconds: Int64(facts.st_mtim.tv_sec),
            modifiedNanoseconds: Int64(facts.st_mtim.tv_nsec))
    }

    private static func path(of language: String, in directory: String) -> String {
        "\(directory)/\(language)\(suffix)"
    }

    /// Names of the models directly in a directory, sorted.
    private static func models(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(suffix), name.utf8.count > suffix.utf8.count {
                names.append(String(name.dropLast(suffix.count)))
            }
        }
        return names.sorted()
    }

    /// Debian's names of the script models (ISO 15924 codes).
    private static let scriptCodes = [
        "Arabic": "arab", "Armenian": "armn", "Bengali": "beng", "Canadian_Aboriginal": "cans", "Cherokee": "cher",
        "Cyrillic": "cyrl", "Devanagari": "deva", "Ethiopic": "ethi", "Fraktur": "frak", "Georgian": "geor",
        "Greek": "grek", "Gujarati": "gujr", "Gurmukhi": "guru", "Hangul": "hang", "HanS": "hans", "HanT": "hant",
        "Hebrew": "hebr", "Japanese": "jpan", "Kannada": "knda", "Khmer": "khmr", "Lao": "laoo", "Latin": "latn",
        "Malayalam": "mlym", "Myanmar": "mymr", "Oriya": "orya", "Sinhala": "sinh", "Syriac": "syrc", "Tamil": "taml",
        "Telugu": "telu", "Thaana": "thaa", "Thai": "thai", "Tibetan": "tibt", "Vietnamese": "viet",
    ]
}
