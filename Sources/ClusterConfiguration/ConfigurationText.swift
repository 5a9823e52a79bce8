// What the texts of a configuration may be. Only their form is checked here: names are resolved by who uses them.

import ClusterModel
import Glibc

extension ConfigurationKey.Text {
    package var expected: String {
        switch self {
        case .path(let mayBeEmpty): mayBeEmpty ? "a path, or \"\"" : "a path"
        case .label(let mayBeEmpty):
            "1...63 letters, digits, '.', '_' or '-'" + (mayBeEmpty ? ", or \"\"" : "")
        case .language: "names of language models such as \"eng\" or \"deu+eng\""
        case .address: "\"ADDRESS:PORT\" (an IPv6 address in brackets), or \"\""
        case .storeURL: "\"http://HOST\" or \"https://HOST\", perhaps with :PORT and /PATH, or an empty text"
        case .seed: "\"HOST\" or \"HOST:PORT\" (an IPv6 address in brackets)"
        case .origin: "\"http://HOST\" or \"http://HOST:PORT\" without a path, or \"\""
        }
    }

    package func accepts(_ text: String) -> Bool {
        switch self {
        case .path(let mayBeEmpty): mayBeEmpty || !text.isEmpty
        case .label(let mayBeEmpty):
            text.isEmpty
                ? mayBeEmpty
                : text.utf8.count <= 63
                    && text.unicodeScalars.allSatisfy { scalar in
                        scalar.isASCII
                            && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                                || "._-".unicodeScalars.contains(scalar))
                    }
        case .language: LanguageSpecification.names(in: text) != nil
        case .address: text.isEmpty || AddressText.isAddress(text)
        case .seed: AddressText.isSeed(text)
        case .origin:
            text.isEmpty
                || (text.hasPrefix("http://")
                    && AddressText.isSeed(String(text.dropFirst("http://".count)), inBrackets: true))
        case .storeURL: text.isEmpty || Self.isStoreURL(text)
        }
    }
}

/// The form of addresses, as the configuration and the command line take them.
package enum AddressText {
    /// A host name has at most 253 bytes (RFC 1035); there is room for a port.
    private static let byteCount = 300

    /// "HOST:PORT"; an IPv6 address stands in brackets. Port 0, "let the system choose", only where it is allowed.
    package static func isAddress(_ text: String, allowsAnyPort: Bool = false) -> Bool {
        guard text.utf8.count <= byteCount, let colon = text.lastIndex(of: ":") else { return false }
        let port = text[text.index(after: colon)...]
        guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let number = Int(port), ((allowsAnyPort ? 0 : 1)...65_535).contains(number)
        else { return false }
        return isHost(text[..<colon])
    }

    /// "HOST" or "HOST:PORT"; an IPv6 address stands in brackets, or alone without a port unless it must have them.
    package static func isSeed(_ text: String, inBrackets: Bool = false) -> Bool {
        text.utf8.count <= byteCount
            && (isAddress(text) || isHost(text[...]) || (!inBrackets && isNumeric(text, AF_INET6)))
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets.
    private static func isHost(_ host: Substring) -> Bool {
        if host.hasPrefix("["), host.hasSuffix("]") { return isNumeric(String(host.dropFirst().dropLast()), AF_INET6) }
        let isName = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        // A resolver would take "10.1" for 10.0.0.1.
        let looksNumeric = host.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == 0x2E }
        return !host.isEmpty && isName && (!looksNumeric || isNumeric(String(host), AF_INET))
    }

    private static func isNumeric(_ host: String, _ family: CInt) -> Bool {
        var address = in6_addr()
        return inet_pton(family, host, &address) == 1
    }
}

extension ConfigurationKey.Text {
    /// As far as a text can be checked without reading it as a URL.
    private static func isStoreURL(_ text: String) -> Bool {
        guard let scheme = ["http://", "https://"].first(where: text.hasPrefix) else { return false }
        let rest = text.dropFirst(scheme.count)
        return !rest.isEmpty && !rest.hasPrefix("/") && !rest.hasPrefix(":")
            && rest.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"?#@\\".utf8.contains($0) }
    }
}
