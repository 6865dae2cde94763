//! Which addresses the controller never contacts on behalf of a user.
//!
//! A user who may register a version or write a rollout chooses URLs, and the controller opens them from where it stands.
//! Link-local addresses are never contacted, where clouds keep the credentials of the machine: not by address, not by name, and
//! not by a redirect. Private addresses are fine: stores and receivers in the cluster have them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// The address is link-local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is at a link-local address, which the controller does not contact")]
pub struct LinkLocal;

/// Whether a URL names an address that is never asked.
///
/// # Errors
/// When it does.
pub fn host(url: &Url) -> Result<(), LinkLocal> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    if is_link_local(address) { Err(LinkLocal) } else { Ok(()) }
}

fn is_link_local(address: IpAddr) -> bool {
    /// The metadata service of EC2 over IPv6.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA,
    }
}

/// Resolves names for a client, and refuses one that leads to such an address.
#[derive(Clone, Copy, Debug)]
pub struct CarefulNames;

impl Resolve for CarefulNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| is_link_local(address.ip())) {
                return Err(LinkLocal.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_never_asked() {
        let refused = |uri: &str| host(&Url::parse(uri).unwrap()).is_err();
        for uri in [
            "http://169.254.169.254/latest/meta-data/",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
        ] {
            assert!(refused(uri), "{uri}");
        }
        for uri in
            ["http://127.0.0.1:9000/m", "http://10.0.0.8/m", "https://store.example/m", "http://[fd00::1]/"]
        {
            assert!(!refused(uri), "{uri}");
        }
    }
}
