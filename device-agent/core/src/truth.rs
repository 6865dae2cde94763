//! Ground truth that comes late: what a device keeps of its predictions, so that truth can be booked to their windows.
//!
//! Truth is state, not events: what counts for a window follows from what is known by now, in whichever order it came and
//! however often. The ledger is a fold over a journal that the shell keeps on disk.

mod counting;
mod journal;
mod kept;
mod ledger;
mod line;
mod moment;
mod quality;
mod saved;
mod told;

pub use counting::{AlarmRule, Answer};
pub use journal::{FRAME_BYTES_MAX, framed};
pub use ledger::{AnsweringBuild, LedgerLimits, TruthLedger};
pub use line::{LINES_MAX, lines, one};
pub use moment::moment;
pub use quality::BuildQuality;
pub use told::{About, Booking, Refused, Told, Truth};
