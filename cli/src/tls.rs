//! One TLS provider for the API server and the object store.

/// Makes ring the provider of the process; a second call changes nothing.
pub fn use_ring() {
    // An error says that there is a provider already, which is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
