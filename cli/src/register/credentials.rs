//! Where a store's client looks for credentials.

/// What is looked at for the stores of one cloud.
#[derive(Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Beginning of the store's address.
    scheme: &'static str,
    /// Variables of which one is enough, or leads to more. Without them the client asks the metadata service of the machine.
    pub variables: &'static [&'static str],
    /// What a person sets.
    pub set: &'static str,
    /// What people expect to be looked at, and is not.
    pub more: &'static str,
}

const OF_STORES: [Credentials; 3] = [
    Credentials {
        scheme: "s3",
        variables: &[
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_SKIP_SIGNATURE",
        ],
        set: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        more: "; profiles in ~/.aws are not read",
    },
    Credentials {
        scheme: "gs",
        variables: &[
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SKIP_SIGNATURE",
        ],
        set: "GOOGLE_SERVICE_ACCOUNT to the file of a service account's key",
        more: "",
    },
    Credentials {
        scheme: "az",
        variables: &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_CLIENT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_SKIP_SIGNATURE",
            "AZURE_USE_AZURE_CLI",
        ],
        set: "AZURE_STORAGE_ACCOUNT_KEY",
        more: "",
    },
];

/// Where credentials for a store of this scheme were looked for, when none of the variables is set.
pub fn missing(scheme: &str, is_set: impl Fn(&str) -> bool) -> Option<&'static Credentials> {
    let credentials = OF_STORES.iter().find(|credentials| credentials.scheme == scheme)?;
    (!credentials.variables.iter().any(|variable| is_set(variable))).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_missing_when_no_variable_leads_to_some() {
        assert_eq!(missing("s3", |_| false).unwrap().variables[0], "AWS_ACCESS_KEY_ID");
        assert_eq!(missing("s3", |name| name == "AWS_WEB_IDENTITY_TOKEN_FILE"), None);
        assert!(missing("gs", |_| false).is_some() && missing("az", |_| false).is_some());
        assert_eq!(missing("https", |_| false), None);
        assert_eq!(missing("file", |_| false), None);
    }
}
