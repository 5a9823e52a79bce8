// Where Tesseract's models are and which are installed.

import Glibc

package enum ModelDirectory {
    /// The first directory with a model in it: the configured one alone if there is one, else that of the environment,
    /// else the places of the common distributions. Nil if there is none.
    package static func locate(configured: String?) -> String? {
        if let configured, !configured.isEmpty { return configured }
        var candidates: [String] = []
        if let named = getenv("TESSDATA_PREFIX") {
            let prefix = String(cString: named)
            candidates += [prefix, prefix + "/tessdata"]
        }
        candidates += [
            "/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata",
            "/usr/share/tesseract/tessdata", "/usr/local/share/tessdata",
        ]
        return candidates.first { !installed(in: $0).isEmpty }
    }

    /// Names of the models in a directory, "script/Fraktur" included; `osd` is no language and is left out.
    package static func installed(in directory: String) -> Set<String> {
        var names = Set(models(in: directory))
        for script in models(in: directory + "/script") { names.insert("script/" + script) }
        names.remove("osd")
        return names
    }

    private static func models(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".traineddata") { names.append(String(name.dropLast(".traineddata".count))) }
        }
        return names
    }

    /// The Debian package that has a model.
    package static func debianPackage(for language: String) -> String {
        var name = language.split(separator: "/").last.map(String.init) ?? language
        // Scripts begin with a capital letter, languages never do.
        let isScript = name.first?.isUppercase ?? false
        name = name.lowercased().split(separator: "_").joined(separator: "-")
        if isScript {
            return name == "fraktur" ? "tesseract-ocr-script-frak" : "tesseract-ocr-script-\(name.prefix(4))"
        }
        return "tesseract-ocr-\(name)"
    }
}
