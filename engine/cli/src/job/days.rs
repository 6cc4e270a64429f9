//! Days per route, over all periods: each closed day beside the week that ended a period before it.
//!
//! These two states grow through all periods under the same keys; a day's comparison reads entries that were written a
//! whole period ago, which have long left memory.

use std::ops::{Bound, ControlFlow};

use alluvium::error::Result;

use super::bytes::{Fields, at};
use super::store::{JobStore, Span};
use super::table::Table;
use super::timers::{Timer, TimerKind};
use super::windows::Window;
use super::{Job, LATENESS_MS};
use crate::input::time::DAY_MS;

fn day_of(time_ms: u64) -> u32 {
    u32::try_from(time_ms / DAY_MS).unwrap_or(u32::MAX)
}

fn decode(value: &[u8]) -> (u64, i64) {
    let mut fields = Fields(value);
    (fields.u64(), fields.i64())
}

impl<S: JobStore> Job<S> {
    /// Adds a closed window to its route's day. `route` is the route's key without its period.
    pub(super) fn add_to_day(&mut self, route: &[u8], start_ms: u64, window: Window) -> Result<()> {
        let day = day_of(start_ms);
        let old = self.store.map_get(Table::RouteDays, at(route), &day.to_be_bytes())?;
        let (count, sum) = old.as_deref().map_or((0, 0), decode);
        let mut value = [0; 16];
        value[..8].copy_from_slice(&(count + u64::from(window.count)).to_le_bytes());
        value[8..].copy_from_slice(&(sum + window.sum).to_le_bytes());
        self.store.map_put(Table::RouteDays, at(route), &day.to_be_bytes(), &value)?;
        if old.is_some() {
            return Ok(());
        }
        // One millisecond after the day's last window can have closed.
        let due_ms = (u64::from(day) + 1) * DAY_MS + LATENESS_MS + 1;
        self.set_timer(&Timer::new(due_ms, TimerKind::DayEnd, route, &day.to_be_bytes()))
    }

    /// Compares a day that is over with the seven days up to the same day of the period before.
    pub(super) fn close_day(&mut self, route: &[u8], day: &[u8]) -> Result<()> {
        let this = self.store.map_get(Table::RouteDays, at(route), day)?;
        let (count, sum) = this.as_deref().map_or((0, 0), decode);
        let mut week = (0_u64, 0_i64);
        if let Some(last) = Fields(day).sorted_u32().checked_sub(self.period_days) {
            let (first, last) = (last.saturating_sub(6).to_be_bytes(), last.to_be_bytes());
            let span = Span { from: Bound::Included(&first), to: Bound::Included(&last), reverse: true };
            self.store.map_scan(Table::RouteDays, at(route), span, |_, value| {
                let (count, sum) = decode(value);
                week = (week.0 + count, week.1 + sum);
                ControlFlow::Continue(())
            })?;
        }
        let mut value = [0; 32];
        value[..8].copy_from_slice(&count.to_le_bytes());
        value[8..16].copy_from_slice(&sum.to_le_bytes());
        value[16..24].copy_from_slice(&week.0.to_le_bytes());
        value[24..].copy_from_slice(&week.1.to_le_bytes());
        self.store.put(Table::RouteTrend, at(route).in_namespace(day), &value)
    }
}
