//! What the end-to-end tests and the demo stand on: real parts, started and stopped as a person would.
