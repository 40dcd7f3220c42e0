//! Decides which addresses belong to the public internet, so that a name cannot lead a guest into the operator's
//! network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether a host on the public internet could have `address`.
///
/// All others in the IANA special-purpose registries are not public: private, shared (RFC 6598), loopback, link-local,
/// unique-local, multicast, documentation, benchmarking, reserved. An IPv6 address that stands for an IPv4 address is
/// public if that one is.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, _, _) => true, // this network, private, loopback
        (100, 64..=127, _) => true,   // shared with a carrier's NAT
        (169, 254, _) => true,        // link-local, where clouds keep their metadata
        (172, 16..=31, _) => true,    // private
        (192, 168, _) => true,        // private
        (192, 0, 0) => true,          // IETF protocol assignments
        (192, 0, 2) => true,          // documentation
        (192, 88, 99) => true,        // 6to4 relays, deprecated
        (198, 18 | 19, _) => true,    // benchmarking
        (198, 51, 100) => true,       // documentation
        (203, 0, 113) => true,        // documentation
        (224..=255, _, _) => true,    // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        (0, 0) => (c, d, e, f) == (0, 0, 0, 0xffff) && v4(g, h), // IPv4-mapped; also ::, ::1 and IPv4-compatible
        (0x0064, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && v4(g, h), // NAT64; also its local-use prefix, RFC 8215
        (0x2002, _) => v4(b, c),                                 // 6to4
        (0x2001, 0..=0x01ff) => false,                           // IETF protocol assignments, Teredo among them
        (0x2001, 0x0db8) => false,                               // documentation
        (0x3fff, 0..=0x0fff) => false,                           // documentation
        // Other addresses are public if they are global unicast. Loopback, link-local, unique-local and multicast are
        // not.
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap_or_else(|e| panic!("`{text}`: {e}")))
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for text in
            ["1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255"]
        {
            assert!(public(text), "{text}");
        }
        for text in ["2606:4700::1111", "2001:200::1", "2a00:1450::1", "3ffe::1"] {
            assert!(public(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_operators_network_are_not_public() {
        let v4 = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let v6 = [
            "::",
            "::1",
            "::2",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff:fff::1",
            "100::1",
            "5f00::1",
            "64:ff9b:1::1",
        ];

        for text in v4.into_iter().chain(v6) {
            assert!(!public(text), "{text}");
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_address_is_checked() {
        for inner in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1"] {
            let [a, b, c, d] = inner.parse::<Ipv4Addr>().unwrap().octets();
            let hex = format!("{:x}:{:x}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for text in [
                format!("::ffff:{inner}"),
                format!("::{inner}"),
                format!("64:ff9b::{inner}"),
                format!("2002:{hex}::1"),
                format!("2001:0:{hex}::1"),
            ] {
                assert!(!public(&text), "{text}");
            }
        }
        assert!(public("::ffff:8.8.8.8") && public("64:ff9b::8.8.8.8") && public("2002:808:808::1"));
    }
}
