//! Ground truth: booked to the recorders, and on disk before it is acknowledged.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use modelfleet_agent_core::interface::Role;
use modelfleet_agent_core::truth::{Booking, BuildQuality, LedgerLimits, Refused, Told, TruthLedger};
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;
use tracing::warn;

use super::Model;
use crate::log::chain;
use crate::store::{StoreError, TruthFile};

const ROLES: [Role; 2] = [Role::Live, Role::Shadow];

/// The journals of a model's ledgers, by role; none where nothing has to last.
#[derive(Debug, Default)]
pub(super) struct Journals([Mutex<Option<TruthFile>>; 2]);

impl Journals {
    /// Opens the journals of a model, and the ledgers that they hold.
    pub(super) fn open(dir: &Path, model: &ModelName, limits: LedgerLimits) -> (Journals, [TruthLedger; 2]) {
        let opened = ["live", "shadow"].map(|role| {
            let name = format!("{model}.{role}");
            let (file, bytes) = match TruthFile::open(dir, &name, limits.bytes as u64) {
                Ok(opened) => opened,
                Err(error) => {
                    warn!(%model, error = %chain(&error), "what was kept for ground truth cannot be read, so it starts anew");
                    return (Mutex::default(), TruthLedger::new(limits));
                }
            };
            let mut ledger = TruthLedger::restored(limits, &bytes);
            ledger.keep_journal();
            (Mutex::new(Some(file)), ledger)
        });
        let [(live, live_ledger), (shadow, shadow_ledger)] = opened;
        (Journals([live, shadow]), [live_ledger, shadow_ledger])
    }

    fn of(&self, role: Role) -> MutexGuard<'_, Option<TruthFile>> {
        self.0[usize::from(role == Role::Shadow)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model {
    /// Books lines of ground truth, for the build that answers and for one in shadow, and says what became of each. They are
    /// on disk when it returns.
    ///
    /// # Errors
    /// When they could not be written: the sender has to send them again.
    pub fn book(&self, now: Time, lines: &[Told]) -> Result<Vec<Booking>, StoreError> {
        let mut bookings = self.book_as(Role::Live, now, lines)?;
        let beside = self.with_recorder(Role::Shadow, |recorder| !recorder.ledger().is_empty());
        if beside {
            let shadow = self.book_as(Role::Shadow, now, lines)?;
            for (booking, beside) in bookings.iter_mut().zip(shadow) {
                if matches!(booking, Booking::Refused(_)) && !matches!(beside, Booking::Refused(_)) {
                    *booking = beside;
                }
            }
        }
        Ok(bookings)
    }

    fn book_as(&self, role: Role, now: Time, lines: &[Told]) -> Result<Vec<Booking>, StoreError> {
        // The journal is locked first, so that frames stand in it in the order of what they say.
        let mut journal = self.journals.of(role);
        let bookings = self.with_recorder(role, |recorder| recorder.book(now, lines));
        self.write_to(&mut journal, role, true)?;
        Ok(bookings)
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// When the disk refuses; it is tried again with the next.
    pub fn save_truth(&self, sync: bool) -> Result<(), StoreError> {
        for role in ROLES {
            self.write_to(&mut self.journals.of(role), role, sync)?;
        }
        Ok(())
    }

    fn write_to(&self, journal: &mut Option<TruthFile>, role: Role, sync: bool) -> Result<(), StoreError> {
        let Some(file) = journal else { return Ok(()) };
        let (whole, frame) = self.with_recorder(role, |recorder| {
            let ledger = recorder.ledger_mut();
            let rewrite = ledger.wants_rewrite() && !ledger.is_empty();
            (rewrite.then(|| ledger.whole()), if rewrite { None } else { ledger.take_unsaved() })
        });
        let written = match (whole, frame) {
            (Some(whole), _) => file.rewrite(&whole),
            (None, Some(frame)) if file.is_full(frame.len()) => {
                let whole = self.with_recorder(role, |recorder| recorder.ledger_mut().whole());
                file.rewrite(&whole)
            }
            (None, Some(frame)) => file.append(&frame, sync),
            (None, None) => Ok(()),
        };
        written.inspect_err(|_| self.with_recorder(role, |recorder| recorder.ledger_mut().not_written()))
    }

    /// What truth says of the builds that answer or have answered, and of those in shadow, and how many lines were refused.
    #[must_use]
    pub fn quality(&self) -> ([Vec<BuildQuality>; 2], Vec<(Refused, u64)>) {
        let of = |role| self.with_recorder(role, |recorder| recorder.ledger().quality());
        let refused = self.with_recorder(Role::Live, |recorder| {
            recorder.ledger().refused().iter().map(|(reason, count)| (*reason, *count)).collect()
        });
        (ROLES.map(of), refused)
    }
}
