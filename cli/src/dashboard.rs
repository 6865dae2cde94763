//! `dashboard`: pages of what the API server and the controller say, for the user alone and by the user's own rights.
//!
//! A page is made in two steps. [`page`] turns objects into what a page says, without IO and without a clock; [`html`] writes it.
//! Nothing on a page changes anything: each prints the commands that would.

pub mod chart;
pub mod figure;
pub mod html;
pub mod objects;
pub mod page;
pub mod server;
pub mod store;
pub mod verdict_history;
