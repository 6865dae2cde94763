//! Rules that several fields share: each is the CEL expression and the sentence that a refused object gets.

/// A rule and its message, as the schema derive takes them.
pub(crate) type RuleText = (&'static str, &'static str);

/// One DNS label: the name becomes part of a topic, a path or a label.
pub(crate) const DNS_LABEL: RuleText = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "must be a DNS label: lower-case letters, digits and '-', starting and ending with a letter or digit, \
     at most 63 characters, such as pump-anomaly",
);

/// The id of a device, as it stands in topics.
pub(crate) const DEVICE_ID: RuleText = (
    "self.matches('^[a-z0-9][a-z0-9._-]*$')",
    "must be a device id: 1 to 64 of a-z, 0-9, '-', '.' and '_', beginning with a letter or digit, such as pump-017",
);

/// Ids of devices, as they stand in topics.
pub(crate) const DEVICE_IDS: RuleText = (
    "self.all(id, id.matches('^[a-z0-9][a-z0-9._-]*$'))",
    "every device id must have 1 to 64 of a-z, 0-9, '-', '.' and '_', beginning with a letter or digit, such as pump-017",
);

/// Semantic versioning 2.0.0.
pub(crate) const SEMVER: RuleText = (
    r"self.matches('^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$')",
    "must be a semantic version such as 1.4.0 or 2.0.0-rc.1",
);

/// Waiting for nothing is a mistake in these fields, and a division by zero later.
///
/// Only of a duration: what is none is told so by its own rule, once.
pub(crate) const LONGER_THAN_ZERO: RuleText =
    ("!self.matches('^(0+(d|h|m|s|ms))+$')", "must be longer than 0s, such as 1h");

/// A label key without its own length in the schema: keys of maps cannot be bounded there.
pub(crate) const LABEL_KEYS: RuleText = (
    "self.all(key, size(key) > 0 && size(key) <= 317)",
    "every label key must have 1 to 317 characters, such as site or example.com/pump-type",
);
