import NIOSSL

/// Checks a name with an underscore against a certificate, as docker's names of containers have one.
///
/// NIOSSL takes such names for none that a certificate could be for, as RFC 1123 has no underscore in the names of hosts. DNS has,
/// and so have other TLS libraries. The rules are those of RFC 6125, narrowed: the subject's alternative names alone, letters
/// compared without their case, and a `*` only as the whole first label.
enum PeerName {
    static func isNeeded(for name: String) -> Bool {
        name.utf8.contains(UInt8(ascii: "_")) && name.utf8.allSatisfy { Self.isNameByte($0) }
    }

    static func isCertificate(_ certificate: NIOSSLCertificate, for name: String) -> Bool {
        certificate._subjectAlternativeNames().contains {
            $0.nameType == .dnsName && Self.isMatch(Array($0.contents), name: Array(name.utf8))
        }
    }

    /// - Parameter pattern: what stands in the certificate.
    static func isMatch(_ pattern: [UInt8], name: [UInt8]) -> Bool {
        let pattern = Self.folded(pattern)
        let name = Self.folded(name)
        guard !name.isEmpty, name.allSatisfy({ Self.isNameByte($0) }) else { return false }
        if pattern.elementsEqual(name) { return true }
        guard pattern.starts(with: "*.".utf8), let dot = name.firstIndex(of: UInt8(ascii: ".")), dot > name.startIndex
        else { return false }
        let rest = pattern.dropFirst(2)
        // `*.` alone would be for whatever stands in one domain of the top level.
        return rest.contains(UInt8(ascii: ".")) && rest.elementsEqual(name[(dot + 1)...])
    }

    /// In lower case and without the dot of the root.
    private static func folded(_ name: [UInt8]) -> ArraySlice<UInt8> {
        let lower = name.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0 }
        return lower.last == UInt8(ascii: ".") ? lower.dropLast() : lower[...]
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
