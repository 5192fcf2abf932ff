//! When something fires.

use super::CronError;
use super::days::Days;
use super::field::{Field, Word, values};
use super::zone::{Zone, from_unix, unix_seconds};
use crate::wire::cron::MAX_SCHEDULE_BYTES;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::SystemTime;

/// 1970 to 2100 in Unix seconds, and a day on either side for the zones.
const KNOWN: RangeInclusive<i64> = -86_400..=4_134_067_200;

/// A cron expression of six fields, `second minute hour day-of-month month
/// day-of-week`, or of five, without the second, which is 0 then. It knows the
/// years from 1970 to 2100.
///
/// The format is that of crontab(5), with what Quartz adds: ranges over the
/// edge (`23-7/2`), `?` for a day field that says nothing, and for days `L`,
/// `LW`, `15W`, `5L` and `5C`. The days of the week are 0 to 7, Sunday being
/// both. gearctl(1) shows the times.
///
/// Where the zone's clock is put forward or back, a schedule with a `*` in its
/// seconds, minutes or hours goes on in real time; one without, which names
/// its times, fires once for all the times that were left out, at the first
/// instant after them, and at the first pass of those that come twice. That is
/// cron(8)'s rule.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    /// Seconds, minutes, hours and months. The days are what the crate cannot say.
    clock: cron::Schedule,
    days: Days,
    /// A `*` in the seconds, minutes or hours.
    is_interval: bool,
}

/// By the text.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Schedule {
    /// # Errors
    /// The field, the column and the reason; also for what never fires.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > MAX_SCHEDULE_BYTES {
            return Err(CronError::TooLong(text.len()));
        }
        let words: Vec<Word<'_>> = Word::all(text).collect();
        if let Some(nickname) = words.first().filter(|word| word.text.starts_with('@')) {
            let reason = format!("{} is not supported: write the fields", nickname.text);
            return Err(CronError::Text { column: nickname.column, reason });
        }
        match words[..] {
            [minute, hour, of_month, month, of_week] => {
                Self::from_words(text, None, [minute, hour, of_month, month, of_week])
            }
            [second, minute, hour, of_month, month, of_week] => {
                Self::from_words(text, Some(second), [minute, hour, of_month, month, of_week])
            }
            _ => {
                let column = words.get(6).map_or(text.chars().count() + 1, |word| word.column);
                let reason = format!(
                    "a schedule has 6 fields, or 5 without the second, not {}{}",
                    words.len(),
                    if words.len() == 7 { "; there is none for the year" } else { "" }
                );
                Err(CronError::Text { column, reason })
            }
        }
    }

    fn from_words(text: &str, second: Option<Word<'_>>, words: [Word<'_>; 5]) -> Result<Self, CronError> {
        let [minute, hour, of_month, month, of_week] = words;
        let seconds = second.map_or(Ok(1), |second| values(Field::Second, second))?;
        let minutes = values(Field::Minute, minute)?;
        let hours = values(Field::Hour, hour)?;
        let days = Days::parse(of_month, month, of_week)?;
        let expression = format!(
            "{} {} {} * {} *",
            listed(seconds, 0..60),
            listed(minutes, 0..60),
            listed(hours, 0..24),
            listed(days.months, 1..13)
        );
        let is_interval =
            [second, Some(minute), Some(hour)].iter().flatten().any(|word| word.text.contains('*'));
        Ok(Schedule {
            text: text.to_owned(),
            clock: expression.parse().expect("lists of numbers in their ranges"),
            days,
            is_interval,
        })
    }

    /// The first time that is strictly later than `after`, to the second;
    /// `None` where there is none up to the end of 2100.
    pub fn next(&self, zone: &Zone, after: SystemTime) -> Option<SystemTime> {
        let after = unix_seconds(after).clamp(*KNOWN.start(), *KNOWN.end());
        self.next_instant(zone, after).map(from_unix)
    }

    /// Whether it goes on in real time where the zone's clock, or this
    /// machine's, is put forward or back.
    pub fn is_interval(&self) -> bool {
        self.is_interval
    }

    /// In Unix seconds. From one change of the zone's offset to the next, wall
    /// time is real time and a constant; what is special is the step between.
    fn next_instant(&self, zone: &Zone, after: i64) -> Option<i64> {
        let mut since = after;
        let mut offset = zone.offset(since);
        // Wall time up to here is done with.
        let mut done = since + offset;
        if !self.is_interval
            && let Some((change, before)) = zone.change_until(after)
        {
            // In a second pass, everything had its turn in the first.
            done = done.max(change + before - 1);
        }
        loop {
            let wall = self.next_wall(done)?;
            let (change, then) = match zone.change_after(since) {
                Some((change, then)) if wall - offset >= change => (change, then),
                _ => return Some(wall - offset),
            };
            if !self.is_interval && wall < change + then {
                // This wall time is left out.
                return Some(change);
            }
            let resumes = if self.is_interval { then } else { then.max(offset) };
            done = change + resumes - 1;
            (since, offset) = (change, then);
        }
    }

    /// The first wall time later than `done`, both in seconds as if there were
    /// no zones. It takes two questions at most: every day that the schedule is
    /// for has such a time.
    fn next_wall(&self, done: i64) -> Option<i64> {
        let first_after = |done: DateTime<Utc>| self.clock.after(&done).next();
        let wall = first_after(DateTime::from_timestamp(done, 0)?)?;
        if self.days.contains(wall.date_naive()) {
            return Some(wall.timestamp());
        }
        let midnight = self.days.after(wall.date_naive())?.and_time(NaiveTime::MIN).and_utc();
        first_after(midnight - TimeDelta::seconds(1)).map(|wall| wall.timestamp())
    }
}

/// The values of a set as the crate writes them.
fn listed(set: u64, all: Range<u32>) -> String {
    if all.clone().all(|value| set >> value & 1 == 1) {
        return "*".into();
    }
    let values = all.filter(|value| set >> value & 1 == 1).map(|value| value.to_string());
    values.collect::<Vec<_>>().join(",")
}
