//! Password files of Mosquitto: a line for each user, with the PBKDF2 of its password.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::pbkdf2::{PBKDF2_HMAC_SHA512, derive};

/// Rounds, as `mosquitto_passwd` 2.0 takes them. Few, because the passwords are of 128 random bits.
const ROUNDS: NonZeroU32 = NonZeroU32::new(101).expect("it is not zero");
/// Bytes of a salt and of a hash in Mosquitto 2.0.
const SALT_BYTES: usize = 12;
const HASH_BYTES: usize = 64;

/// A password that no one has to remember: 128 random bits as hexadecimal digits.
pub(super) fn random() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// The line of a user, in the form `user:$7$rounds$salt$hash`.
pub(super) fn line(user: &str, password: &str) -> String {
    line_with(user, password, rand::random())
}

fn line_with(user: &str, password: &str, salt: [u8; SALT_BYTES]) -> String {
    let mut hash = [0; HASH_BYTES];
    derive(PBKDF2_HMAC_SHA512, ROUNDS, &salt, password.as_bytes(), &mut hash);
    format!("{user}:$7${ROUNDS}${}${}\n", STANDARD.encode(salt), STANDARD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    // `mosquitto_passwd -b` of Mosquitto 2.0.11 wrote this line for the password `secret`.
    const BY_MOSQUITTO: &str = "pump-001:$7$101$CDAfgoH7PHX2H/aB$SZcrwf4tIllqFdumxH3z2JBoms1FaDPAxqJPsk3wTIXpwCe2qABUw1CYThB0MAyWVytLIZl04G5CrA/nUI2SSQ==";

    #[test]
    fn a_line_is_the_one_that_mosquitto_writes() {
        let salt = BY_MOSQUITTO.split('$').nth(3).unwrap();
        let salt = STANDARD.decode(salt).unwrap().try_into().unwrap();
        assert_eq!(line_with("pump-001", "secret", salt).trim_end(), BY_MOSQUITTO);
        assert_ne!(random(), random());
    }
}
