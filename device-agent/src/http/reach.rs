//! Which servers a device may download from. A plan is signed, but the names in it are resolved by others, and servers send
//! devices elsewhere: neither may turn a device against the machines around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network that downloads may reach besides public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// All private networks, and the machine itself.
    Private,
    /// Addresses that begin with these bits.
    Block {
        /// The first address.
        first: IpAddr,
        /// How many bits all have in common with it.
        bits: u8,
    },
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        if text == "private" {
            return Ok(Network::Private);
        }
        let wrong = || format!("{text:?} is neither `private` nor a network such as 10.20.0.0/16");
        let (first, bits) = match text.split_once('/') {
            Some((first, bits)) => (first, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Network::Block { first, bits }) }
    }
}

/// Which addresses downloads may reach: public ones, and these networks.
#[derive(Clone, Debug, Default)]
pub struct Reach(pub Vec<Network>);

impl Reach {
    /// Whether a download may connect to this address.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = carried(address);
        match kind(address) {
            Kind::Public => true,
            Kind::Private => self.0.iter().any(|network| network.has(address)),
            Kind::Never => false,
        }
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::Private, _) => true,
            (Network::Block { first: IpAddr::V4(first), bits }, IpAddr::V4(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(bits)
            }
            (Network::Block { first: IpAddr::V6(first), bits }, IpAddr::V6(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(bits)
            }
            (Network::Block { .. }, _) => false,
        }
    }
}

enum Kind {
    Public,
    Private,
    /// Of the link itself, where clouds keep the credentials of machines; of many at once; of none.
    Never,
}

/// The address of IPv4 that one of IPv6 stands for.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    match six.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => address,
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(four) => kind_of_4(four),
        IpAddr::V6(six) => kind_of_6(six),
    }
}

fn kind_of_4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        // Broadcast is in the last of them.
        [0, ..] | [169, 254, ..] | [224..=255, ..] => Kind::Never,
        _ if address.is_private() || address.is_loopback() => Kind::Private,
        // Shared by a carrier's customers, for tests of networks, and for the protocols themselves.
        [100, 64..=127, ..] | [198, 18..=19, ..] | [192, 0, 0, _] => Kind::Private,
        _ => Kind::Public,
    }
}

fn kind_of_6(address: Ipv6Addr) -> Kind {
    if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() {
        return Kind::Never;
    }
    // A cloud's way to the credentials of its machines lies among the private addresses.
    if address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        return Kind::Never;
    }
    // Site-local addresses are out of use, and not public.
    let site_local = address.segments()[0] & 0xffc0 == 0xfec0;
    if address.is_loopback() || address.is_unique_local() || site_local {
        Kind::Private
    } else {
        Kind::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(networks: &[&str]) -> Reach {
        Reach(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn check(networks: &[&str], allowed: &[&str], refused: &[&str]) {
        let reach = reach(networks);
        for (addresses, expected) in [(allowed, true), (refused, false)] {
            for address in addresses {
                assert_eq!(reach.allows(address.parse().unwrap()), expected, "{networks:?} {address}");
            }
        }
    }

    const NEVER: [&str; 9] = [
        "169.254.169.254",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::",
        "::ffff:169.254.169.254",
    ];

    #[test]
    fn private_addresses_are_refused_unless_allowed_and_those_of_the_link_always() {
        let public = ["93.184.216.34", "2606:2800:220:1::1", "172.32.0.1", "100.128.0.1", "::ffff:8.8.8.8"];
        let private = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.7.7",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fd12::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
        ];
        check(&[], &public, &private);
        check(&[], &[], &NEVER);
        check(&["private"], &public, &NEVER);
        check(&["private"], &private, &[]);
        check(&["169.254.0.0/16", "0.0.0.0/0", "::/0"], &private, &NEVER);
    }

    #[test]
    fn a_network_allows_its_own_addresses() {
        check(
            &["10.20.0.0/16"],
            &["10.20.255.1", "::ffff:10.20.0.1"],
            &["10.21.0.1", "127.0.0.1", "fd12::1"],
        );
        check(&["10.20.0.7"], &["10.20.0.7"], &["10.20.0.8"]);
        check(&["fd12:3::/32"], &["fd12:3::9"], &["fd12:4::9", "10.0.0.1"]);
        for wrong in ["10.0.0.0/33", "10.0.0.0/x", "plant", "", "fd12::/129", "10.0.0/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
