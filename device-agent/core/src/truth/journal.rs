//! The journal of a ledger: frames with a checksum, one after the other. What a power cut tore off is left out.

use modelfleet_protocol::ids::Digest;

/// Most bytes of a frame's content.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEAD: usize = 12;

/// A frame: the length of its content, the beginning of the content's digest, and the content.
#[must_use]
pub fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD + content.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&Digest::of(content).0[..HEAD - 4]);
    frame.extend_from_slice(content);
    frame
}

/// The contents of the frames that are whole, up to the first that is not.
pub(super) fn contents(mut bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut found, mut good) = (Vec::new(), 0);
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let length = head[..4].iter().rev().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let Some((content, rest)) = rest.split_at_checked(length).filter(|_| length <= FRAME_BYTES_MAX)
        else {
            break;
        };
        if head[4..] != Digest::of(content).0[..HEAD - 4] {
            break;
        }
        found.push(content);
        good += HEAD + length;
        bytes = rest;
    }
    (found, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_costs_itself_alone() {
        let whole = [framed(b"one"), framed(b""), framed(b"three")].concat();
        let (all, good) = contents(&whole);
        assert_eq!((all, good), (vec![&b"one"[..], b"", b"three"], whole.len()));
        for cut in 0..whole.len() {
            let (found, good) = contents(&whole[..cut]);
            assert!(found.len() < 3 && good <= cut);
        }
        let mut spoiled = whole.clone();
        spoiled[HEAD] ^= 1;
        assert_eq!(contents(&spoiled).0.len(), 0);
    }
}
