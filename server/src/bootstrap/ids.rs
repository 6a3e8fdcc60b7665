//! Ids that follow from the addresses of the founding members.
//!
//! Owns a hash that must never change: members compute each other's ids, and restarts repeat it.

use crate::ids::scramble;

/// FNV-1a, 64 bits.
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The id of a founding member: a hash of its peer URLs, in whichever order, and of the cluster's
/// token.
pub(super) fn member_id(peer_urls: &[String], cluster_token: &str) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut texts = urls;
    texts.push(cluster_token);
    hash(texts.iter().map(|text| text.as_bytes()))
}

/// The id of a cluster: a hash of the ids of its founding members, in whichever order.
pub(crate) fn cluster_id(member_ids: &[u64]) -> u64 {
    let mut ids = member_ids.to_vec();
    ids.sort_unstable();
    let bytes: Vec<[u8; 8]> = ids.iter().map(|id| id.to_be_bytes()).collect();
    hash(bytes.iter().map(<[u8; 8]>::as_slice))
}

/// Hashes texts, each behind its length so that none runs into the next. Never zero, which stands
/// for "none" on the wire.
fn hash<'a>(texts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut state = OFFSET_BASIS;
    let mut feed = |byte: u8| state = (state ^ u64::from(byte)).wrapping_mul(PRIME);
    for text in texts {
        (text.len() as u64)
            .to_be_bytes()
            .into_iter()
            .for_each(&mut feed);
        text.iter().copied().for_each(&mut feed);
    }
    scramble(state).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn ids_are_those_of_every_version_before() {
        let one = member_id(&urls(&["http://10.0.0.1:2380"]), "etcd-cluster");
        let two = member_id(&urls(&["http://10.0.0.2:2380"]), "etcd-cluster");
        assert_eq!(format!("{one:016x}"), "743973f7c4676a9d");
        assert_eq!(format!("{two:016x}"), "f7926ea7c011047a");
        assert_eq!(
            format!("{:016x}", cluster_id(&[one, two])),
            "4ad4e259fce16596"
        );
    }

    #[test]
    fn order_does_not_matter_but_everything_else_does() {
        let id = |texts: &[&str], token| member_id(&urls(texts), token);
        assert_eq!(id(&["a", "b"], "t"), id(&["b", "a"], "t"));
        assert_ne!(id(&["a", "b"], "t"), id(&["ab"], "t"));
        assert_ne!(id(&["a"], "t"), id(&["a"], "u"));
        assert_ne!(id(&["a"], "bt"), id(&["a", "b"], "t"));
        assert_eq!(cluster_id(&[1, 2]), cluster_id(&[2, 1]));
        assert_ne!(cluster_id(&[1, 2]), cluster_id(&[1]));
    }
}
