//! Wall-clock time as whole seconds; pure code takes it as an argument.

use serde::{Deserialize, Serialize};
use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// The system clock's reading. Only runners and `main` call this.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |d| d.as_secs()))
    }

    /// This time, `seconds` later (saturating).
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The day number that VERP tokens carry: whole days since 1970-01-01, modulo 65536.
    #[must_use]
    pub const fn day(self) -> u16 {
        ((self.0 / 86_400) % 65_536) as u16
    }

    /// `Sun, 22 Nov 2026 10:00:00 +0000`: an RFC 5322 section 3.3 date, in UTC.
    #[must_use]
    pub fn rfc5322(self) -> String {
        let format = format_description!(
            "[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second] +0000"
        );
        self.civil().format(&format).unwrap_or_default()
    }

    fn civil(self) -> OffsetDateTime {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339, in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.civil().format(&Rfc3339).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::UnixTime;

    #[test]
    fn dates_read_as_the_standards_write_them() {
        let t = UnixTime(1795334096);
        assert_eq!(t.to_string(), "2026-11-22T07:54:56Z");
        assert_eq!(t.rfc5322(), "Sun, 22 Nov 2026 07:54:56 +0000");
        assert_eq!(UnixTime(u64::MAX).to_string(), "1970-01-01T00:00:00Z");
    }
}
