//! The details file of a build: downloaded by the same rules as the model, and read at once. What is in it becomes part of
//! the agent's record, so that the file need not stay.

use modelfleet_agent_core::interface::FetchedDetails;
use modelfleet_protocol::details::{DETAILS_BYTES_MAX, Details};
use modelfleet_protocol::model::ModelBuild;
use tokio::fs;

use super::{FetchError, Fetcher, Wanted, disk};

impl Fetcher {
    /// Downloads, verifies and reads the details file that a build names; `None` if it names none.
    ///
    /// # Errors
    /// When the file cannot be had, or is not what the plan says.
    pub async fn fetch_details(
        &self,
        build: &ModelBuild,
        bytes_per_second: u64,
    ) -> Result<Option<FetchedDetails>, FetchError> {
        let Some(file) = &build.details else { return Ok(None) };
        let failed = |source: FetchError| FetchError::Details(Box::new(source));
        if file.size_bytes > DETAILS_BYTES_MAX {
            return Err(failed(FetchError::Size(file.size_bytes)));
        }
        let wanted = Wanted { uri: &file.uri, digest: file.digest, size_bytes: file.size_bytes };
        let part = self.fetch_part(&wanted, bytes_per_second, &|_| {}).await.map_err(failed)?;
        let bytes = fs::read(&part).await.map_err(disk("read", &part)).map_err(failed)?;
        self.forget(&file.digest).await;
        let details = Details::from_json(&bytes).map_err(|source| failed(source.into()))?;
        Ok(Some(FetchedDetails { file: file.digest, details: details.into() }))
    }
}
