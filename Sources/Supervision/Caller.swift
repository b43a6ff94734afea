private import CSupervision
private import LockKernel

/// What the caller of this process has handed over, byte for byte. None of it needs /proc.
package enum Caller {
    /// The arguments, without the program's name. They need not be text.
    package static var arguments: [[UInt8]] {
        let count = Int(csup_argument_count())
        guard count >= 0, let arguments = csup_arguments() else {
            return CommandLine.arguments.dropFirst().map { Array($0.utf8) }
        }
        return (0..<count).dropFirst().compactMap { arguments[$0].map { Self.bytes($0) } }
    }

    /// Overwrites the passwords of URLs among the arguments, so that a list of processes (`ps`) shows them no more. Without
    /// effect on what ``arguments`` returned before.
    package static func hidePasswords() { csup_hide_passwords() }

    /// `NAME=value`, in their order. They need not be text, and one name may be there twice.
    package static var environment: [[UInt8]] {
        guard var next = csup_environment() else { return [] }
        var entries: [[UInt8]] = []
        while let entry = next.pointee {
            entries.append(Self.bytes(entry))
            next += 1
        }
        return entries
    }

    /// How many open descriptors it has handed over.
    package static var descriptorCount: Int { csup_descriptor_count() }

    /// Raises the limit of open descriptors if it leaves no room for so many; false if it may not be raised that far. A
    /// supervised command gets the limit that this process was given.
    package static func makeRoom(forDescriptors count: Int) -> Bool { csup_make_room(count) }

    private static func bytes(_ text: UnsafePointer<CChar>) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
    }
}
