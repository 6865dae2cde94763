//! The address of a key in a token: a `pkcs11:` URI (RFC 7512), as far as a device needs it.

use std::path::PathBuf;
use std::str::FromStr;

/// Which key of which token, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenAddress {
    /// `module-path`: the library of the token.
    pub module: PathBuf,
    /// `token`: the token's label; none: the first token.
    pub token: Option<String>,
    /// `object`: the key's label.
    pub object: Option<String>,
    /// `id`: the key's id.
    pub id: Option<Vec<u8>>,
    /// `pin-source`: a file whose first line is the PIN; none: the token asks for none.
    pub pin_file: Option<PathBuf>,
}

/// Why an address is none. The address itself is not repeated, because a PIN may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with something else.
    #[error("the address of a key in a token begins with pkcs11:")]
    Scheme,
    /// No library is named.
    #[error("the address of the key in the token names no library; add ?module-path=/path/to/library.so")]
    NoModule,
    /// A PIN in an address can be seen in the list of processes.
    #[error(
        "the address of the key in the token holds the PIN; put it into a file, and name that with pin-source=FILE"
    )]
    PinValue,
    /// A percent sign without two digits, or bytes that are no text.
    #[error("{0} in the address of the key in the token cannot be read")]
    Encoding(String),
}

impl FromStr for TokenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<TokenAddress, AddressError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(AddressError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut module = None;
        let mut address =
            TokenAddress { module: PathBuf::new(), token: None, object: None, id: None, pin_file: None };
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let unreadable = || AddressError::Encoding(name.to_owned());
            let bytes = decoded(value).ok_or_else(unreadable)?;
            let word = || String::from_utf8(bytes.clone()).map_err(|_| unreadable());
            match name {
                "module-path" => module = Some(PathBuf::from(word()?)),
                "token" => address.token = Some(word()?),
                "object" => address.object = Some(word()?),
                "id" => address.id = Some(bytes),
                "pin-source" => {
                    let file = word()?;
                    address.pin_file = Some(file.strip_prefix("file:").unwrap_or(&file).into());
                }
                "pin-value" => return Err(AddressError::PinValue),
                // What else narrows down tokens and modules is not needed to find ours.
                _ => {}
            }
        }
        address.module = module.ok_or(AddressError::NoModule)?;
        Ok(address)
    }
}

/// Resolves `%41`; `None`: a percent sign without two hexadecimal digits.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_key_of_a_token() {
        let text = "pkcs11:token=my%20devices;object=pump-001;id=%01%ff;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin";
        let address: TokenAddress = text.parse().unwrap();
        assert_eq!(
            address,
            TokenAddress {
                module: "/usr/lib/x.so".into(),
                token: Some("my devices".into()),
                object: Some("pump-001".into()),
                id: Some(vec![1, 255]),
                pin_file: Some("/run/pin".into()),
            }
        );
    }

    #[test]
    fn an_address_that_is_wrong_says_how_without_a_pin() {
        for (text, expected) in [
            ("/etc/key.pem", AddressError::Scheme),
            ("pkcs11:object=a", AddressError::NoModule),
            ("pkcs11:object=a?module-path=/x&pin-value=1234", AddressError::PinValue),
            ("pkcs11:object=%4?module-path=/x", AddressError::Encoding("object".into())),
            ("pkcs11:token=%ff?module-path=/x", AddressError::Encoding("token".into())),
        ] {
            let error = text.parse::<TokenAddress>().unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("1234"));
        }
    }
}
