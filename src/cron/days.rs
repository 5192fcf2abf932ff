//! Which days a schedule is for: its day of month, month and day of week.
//!
//! A day field that is a bare `*` or `?` says nothing. Where both say
//! something a day that suits one of them is enough, as in every cron.

use super::CronError;
use super::field::{Field, Word, item_values, value, values};
use chrono::{Datelike as _, Months, NaiveDate};

/// The last year that schedules know, which is that of the crate behind them.
pub const LAST_YEAR: i32 = 2100;

#[derive(Debug, Clone)]
pub struct Days {
    /// A bit for each month, from 1.
    pub months: u64,
    of_month: Option<OfMonth>,
    of_week: Option<OfWeek>,
}

/// Sets are bits, by the day's number from 1.
#[derive(Debug, Clone, Default)]
struct OfMonth {
    days: u64,
    /// `L`
    last: bool,
    /// `LW`
    last_weekday: bool,
    /// `15W`: the weekday, Monday to Friday, nearest to each of these in the same month.
    nearest: u64,
}

/// Sets are bits, by the day's number from Sunday, 0.
#[derive(Debug, Clone, Default)]
struct OfWeek {
    days: u64,
    /// `5L`: the last of its kind in the month.
    last: u64,
}

impl Days {
    /// Of the three fields.
    ///
    /// # Errors
    /// What is wrong, or that there is no such day in any year.
    pub fn parse(of_month: Word<'_>, month: Word<'_>, of_week: Word<'_>) -> Result<Self, CronError> {
        let days = Days {
            of_month: if is_bare(of_month) { None } else { Some(OfMonth::parse(of_month)?) },
            months: values(Field::Month, month)?,
            of_week: if is_bare(of_week) { None } else { Some(OfWeek::parse(of_week)?) },
        };
        // What a leap year does not have no year has.
        let leap_year = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a date");
        if !leap_year.iter_days().take(366).any(|date| days.contains(date)) {
            let reason = "it never fires: none of its months has such a day";
            return Err(of_month.wrong(Field::DayOfMonth, reason));
        }
        Ok(days)
    }

    pub fn contains(&self, date: NaiveDate) -> bool {
        let suits = match (&self.of_month, &self.of_week) {
            (None, None) => true,
            (Some(of_month), None) => of_month.contains(date),
            (None, Some(of_week)) => of_week.contains(date),
            (Some(of_month), Some(of_week)) => of_month.contains(date) || of_week.contains(date),
        };
        suits && has(self.months, date.month())
    }

    /// The first such day after `date`, up to [`LAST_YEAR`].
    pub fn after(&self, date: NaiveDate) -> Option<NaiveDate> {
        let mut date = date.succ_opt()?;
        while date.year() <= LAST_YEAR {
            if !has(self.months, date.month()) {
                date = date.with_day(1)?.checked_add_months(Months::new(1))?;
            } else if self.contains(date) {
                return Some(date);
            } else {
                date = date.succ_opt()?;
            }
        }
        None
    }
}

impl OfMonth {
    fn parse(word: Word<'_>) -> Result<Self, CronError> {
        let mut this = OfMonth::default();
        for item in word.items() {
            match special(Field::DayOfMonth, item)? {
                Some((None, "L")) => this.last = true,
                Some((None, "LW")) => this.last_weekday = true,
                Some((Some(day), "W")) => this.nearest |= 1 << day,
                Some((Some(day), "C")) => this.days |= 1 << day,
                Some(_) => return Err(misplaced(Field::DayOfMonth, item)),
                None => this.days |= item_values(Field::DayOfMonth, item)?,
            }
        }
        Ok(this)
    }

    fn contains(&self, date: NaiveDate) -> bool {
        let (day, length) = (date.day(), u32::from(date.num_days_in_month()));
        has(self.days, day)
            || (self.last && day == length)
            || (self.last_weekday && day == last_weekday(date, length))
            || (self.nearest != 0 && self.is_nearest(date, length))
    }

    /// A weekday is at most two days from the one that is nearest to it.
    fn is_nearest(&self, date: NaiveDate, length: u32) -> bool {
        let around = date.day().saturating_sub(2).max(1)..=(date.day() + 2).min(length);
        around
            .into_iter()
            .any(|day| has(self.nearest, day) && nearest_weekday(date, day, length) == date.day())
    }
}

impl OfWeek {
    fn parse(word: Word<'_>) -> Result<Self, CronError> {
        let mut this = OfWeek::default();
        for item in word.items() {
            match special(Field::DayOfWeek, item)? {
                // The last day of a week that begins on Sunday.
                Some((None, "L")) => this.days |= 1 << 6,
                Some((Some(day), "L")) => this.last |= 1 << (day % 7),
                Some((Some(day), "C")) => this.days |= 1 << (day % 7),
                Some(_) => return Err(misplaced(Field::DayOfWeek, item)),
                None => this.days |= item_values(Field::DayOfWeek, item)?,
            }
        }
        Ok(this)
    }

    fn contains(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday();
        has(self.days, weekday)
            || (has(self.last, weekday) && date.day() + 7 > u32::from(date.num_days_in_month()))
    }
}

/// An item that ends with L, LW, W or C, as its number and those letters. `C`
/// asks a calendar, and there is none, so that it changes nothing.
fn special(field: Field, item: Word<'_>) -> Result<Option<(Option<u32>, &'static str)>, CronError> {
    let marks = if field == Field::DayOfMonth { &["LW", "L", "W", "C"][..] } else { &["L", "C"] };
    let text = item.text;
    let ends_with = |mark: &&&str| {
        let begin = text.len().checked_sub(mark.len());
        begin.and_then(|begin| text.get(begin..)).is_some_and(|end| end.eq_ignore_ascii_case(mark))
    };
    let Some(mark) = marks.iter().find(ends_with) else { return Ok(None) };
    let before = &text[..text.len() - mark.len()];
    if before.is_empty() {
        return Ok(Some((None, mark)));
    }
    if before.contains(['-', '/', '*', '?']) {
        return Err(misplaced(field, item));
    }
    Ok(Some((Some(value(field, Word { text: before, ..item })?), mark)))
}

fn misplaced(field: Field, item: Word<'_>) -> CronError {
    let allowed = if field == Field::DayOfMonth { "L, LW, 15W and 15C stand" } else { "L, 5L and 5C stand" };
    item.wrong(field, format!("{:?} is not understood: {allowed} alone or in a list", item.text))
}

fn is_bare(word: Word<'_>) -> bool {
    word.text == "*" || word.text == "?"
}

fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

/// The weekday, Monday to Friday, nearest to this day of the date's month, as the day's number.
fn nearest_weekday(date: NaiveDate, day: u32, length: u32) -> u32 {
    // Days from Sunday of that day.
    let weekday = (date.weekday().num_days_from_sunday() + 35 + day - date.day()) % 7;
    match weekday {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    }
}

fn last_weekday(date: NaiveDate, length: u32) -> u32 {
    nearest_weekday(date, length, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(of_month: &str, month: &str, of_week: &str) -> Days {
        let word = |text| Word { text, column: 1 };
        Days::parse(word(of_month), word(month), word(of_week)).unwrap()
    }

    /// The days of a month, by their numbers.
    fn of(days: &Days, year: i32, month: u32) -> Vec<u32> {
        let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap();
        let month = first.iter_days().take_while(|date| date.month() == month);
        month.filter(|date| days.contains(*date)).map(|date| date.day()).collect()
    }

    #[test]
    fn the_nearest_weekday_is_in_the_same_month() {
        // 1 and 2 August 2026 are a weekend, 30 and 31 May 2026 as well.
        assert_eq!(of(&days("1W", "*", "?"), 2026, 8), [3]);
        assert_eq!(of(&days("2W", "*", "?"), 2026, 8), [3]);
        assert_eq!(of(&days("30W", "*", "?"), 2026, 5), [29]);
        assert_eq!(of(&days("31W", "*", "?"), 2026, 5), [29]);
        assert_eq!(of(&days("LW", "*", "?"), 2026, 5), [29]);
        assert!(of(&days("31W", "*", "?"), 2026, 4).is_empty());
        assert_eq!(of(&days("15W", "*", "?"), 2026, 2), [16]);
        assert_eq!(of(&days("14W", "*", "?"), 2026, 2), [13]);
    }

    #[test]
    fn one_day_field_is_enough_where_both_say_something() {
        assert_eq!(of(&days("4", "*", "1-3"), 2026, 1), [4, 5, 6, 7, 12, 13, 14, 19, 20, 21, 26, 27, 28]);
        assert_eq!(of(&days("L", "*", "5L"), 2026, 1), [30, 31]);
        assert_eq!(of(&days("?", "*", "?"), 2026, 2).len(), 28);
        assert!(of(&days("?", "3", "*"), 2026, 2).is_empty());
    }

    #[test]
    fn the_next_day_is_found_over_months_and_years() {
        let leap_day = days("29", "2", "?");
        let date = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
        assert_eq!(leap_day.after(date(2026, 5, 5)), Some(date(2028, 2, 29)));
        assert_eq!(leap_day.after(date(2028, 2, 29)), Some(date(2032, 2, 29)));
        assert_eq!(leap_day.after(date(2096, 2, 29)), None);
        assert_eq!(days("*", "*", "*").after(date(2100, 12, 30)), Some(date(2100, 12, 31)));
        assert_eq!(days("*", "*", "*").after(date(2100, 12, 31)), None);
    }
}
