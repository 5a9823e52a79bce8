// Whether a worker is confined, and what of that the running kernel enforces.

/// Whether workers enter the sandbox (DESIGN §8).
package enum SandboxPolicy: UInt8, Hashable, Sendable {
    /// No resource limits are lost, but a worker may do what the node's user may do. To be said loudly.
    case off = 0
    /// No capabilities, no_new_privs, Landlock and seccomp, as far as the kernel has them.
    case enforced = 1
}

/// Directories that a worker may read besides its models: what poppler looks for when a PDF does not bring its own fonts.
/// None holds a secret; all are opened only for such a page.
package enum SandboxFonts {
    package static let directories = [
        // Fonts of the system, fontconfig's rules for choosing among them, and its index of them.
        "/usr/share/fonts", "/usr/local/share/fonts", "/etc/fonts", "/usr/share/fontconfig", "/var/cache/fontconfig",
        // Character maps of Chinese, Japanese and Korean fonts (poppler-data).
        "/usr/share/poppler",
    ]
}

/// What is in force in one worker, as it reports itself once it is ready.
package struct SandboxReport: Hashable, Sendable {
    package var policy: SandboxPolicy
    /// ABI of Landlock, 0 where it is not in force.
    package var landlockABI: Int
    package var seccomp: Bool
    package var noNewPrivileges: Bool
    package var noCapabilities: Bool
    /// errno of what was refused, 0 where nothing was.
    package var landlockError: Int
    package var seccompError: Int

    package init(
        policy: SandboxPolicy, landlockABI: Int = 0, seccomp: Bool = false, noNewPrivileges: Bool = false,
        noCapabilities: Bool = false, landlockError: Int = 0, seccompError: Int = 0
    ) {
        self.policy = policy
        self.landlockABI = landlockABI
        self.seccomp = seccomp
        self.noNewPrivileges = noNewPrivileges
        self.noCapabilities = noCapabilities
        self.landlockError = landlockError
        self.seccompError = seccompError
    }

    /// Whether everything that the sandbox consists of is in force.
    package var isComplete: Bool { landlockABI > 0 && seccomp && noNewPrivileges && noCapabilities }

    /// One line for people: "seccomp, landlock 7, no_new_privs", or what is missing.
    package var text: String {
        if policy == .off { return "off" }
        let parts = [
            seccomp ? "seccomp" : "no seccomp (errno \(seccompError))",
            landlockABI > 0 ? "landlock \(landlockABI)" : "no landlock (errno \(landlockError))",
            noNewPrivileges ? "no_new_privs" : "privileges may rise",
            noCapabilities ? "no capabilities" : "capabilities kept",
        ]
        return parts.joined(separator: ", ")
    }
}
