//! When a schedule fires, the slow way: every second of a window is looked at
//! by itself, its fields read letter by letter from the expression. It shares
//! nothing with `src/cron`, and so has its own arithmetic of dates, too.

const DAY_SECONDS: i64 = 86_400;

/// A date, and what it says about its month.
struct Civil {
    day: u32,
    month: u32,
    /// Sunday is 0.
    weekday: u32,
    month_length: u32,
}

impl Civil {
    /// Counts years and months off from 1970, Unix day 0, a Thursday.
    fn new(mut days: i64) -> Civil {
        let weekday = (days + 4).rem_euclid(7);
        let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let (mut year, mut month) = (1970, 1);
        while days >= if is_leap(year) { 366 } else { 365 } {
            days -= if is_leap(year) { 366 } else { 365 };
            year += 1;
        }
        let length = |month: i64| match month {
            2 if is_leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        while days >= length(month) {
            days -= length(month);
            month += 1;
        }
        let small = |number: i64| u32::try_from(number).unwrap();
        Civil {
            day: small(days) + 1,
            month: small(month),
            weekday: small(weekday),
            month_length: small(length(month)),
        }
    }

    fn weekday_of(&self, day: u32) -> u32 {
        (self.weekday + 70 + day - self.day) % 7
    }

    fn is_weekday(&self, day: u32) -> bool {
        (1..=5).contains(&self.weekday_of(day))
    }
}

/// An expression of six fields, with what each second, minute and hour came to.
pub struct Fields<'a> {
    of_month: &'a str,
    month: &'a str,
    of_week: &'a str,
    seconds: Vec<bool>,
    minutes: Vec<bool>,
    hours: Vec<bool>,
    /// The day that was looked at last.
    day: (i64, bool),
}

impl<'a> Fields<'a> {
    pub fn new(expression: &'a str) -> Self {
        let fields: Vec<&str> = expression.split(' ').collect();
        let [second, minute, hour, of_month, month, of_week] = fields[..] else { panic!("six fields") };
        let each = |field, most| (0..=most).map(|value| plain(field, value, 0, most)).collect();
        Fields {
            of_month,
            month,
            of_week,
            seconds: each(second, 59),
            minutes: each(minute, 59),
            hours: each(hour, 23),
            day: (-1, false),
        }
    }

    /// Whether it has this wall time, in seconds from 1970.
    pub fn suit(&mut self, wall: i64) -> bool {
        let (day, second) = (wall / DAY_SECONDS, usize::try_from(wall % DAY_SECONDS).unwrap());
        if self.day.0 != day {
            self.day = (day, self.suit_day(&Civil::new(day)));
        }
        self.day.1 && self.seconds[second % 60] && self.minutes[second / 60 % 60] && self.hours[second / 3600]
    }

    fn suit_day(&self, civil: &Civil) -> bool {
        let says = |field: &str| field != "*" && field != "?";
        let of_month = || self.of_month.split(',').any(|item| day_of_month_suits(item, civil));
        let of_week = || self.of_week.split(',').any(|item| day_of_week_suits(item, civil));
        let suits = match (says(self.of_month), says(self.of_week)) {
            (false, false) => true,
            (true, false) => of_month(),
            (false, true) => of_week(),
            (true, true) => of_month() || of_week(),
        };
        suits && plain(self.month, civil.month, 1, 12)
    }
}

fn plain(field: &str, value: u32, least: u32, most: u32) -> bool {
    field.split(',').any(|item| plain_suits(item, value, least, most))
}

/// Walks from the item's first value to its last, one by one and round the
/// edge, and sees whether a step comes down on `value`.
fn plain_suits(item: &str, value: u32, least: u32, most: u32) -> bool {
    let (base, step) = item.split_once('/').map_or((item, 1), |(base, step)| (base, step.parse().unwrap()));
    let (from, to) = match base.split_once('-') {
        Some((from, to)) => (number(from), number(to)),
        None if base == "*" => (least, most),
        None if item.contains('/') => (number(base), most),
        None => (number(base), number(base)),
    };
    let mut walker = from;
    let mut steps = 0;
    loop {
        if steps % step == 0 && walker == value {
            return true;
        }
        if walker == to {
            return false;
        }
        walker = if walker == most { least } else { walker + 1 };
        steps += 1;
    }
}

fn number(text: &str) -> u32 {
    let names =
        "sun0 mon1 tue2 wed3 thu4 fri5 sat6 jan1 feb2 mar3 apr4 may5 jun6 jul7 aug8 sep9 oct10 nov11 dec12";
    let lower = text.to_lowercase();
    let found = names.split(' ').find_map(|pair| pair.strip_prefix(&lower[..lower.len().min(3)]));
    found.unwrap_or(text).parse().unwrap()
}

fn day_of_month_suits(item: &str, civil: &Civil) -> bool {
    let item = item.to_uppercase();
    if item == "L" {
        return civil.day == civil.month_length;
    }
    if item == "LW" {
        let last = (1..=civil.month_length).rev().find(|day| civil.is_weekday(*day));
        return last == Some(civil.day);
    }
    if let Some(day) = item.strip_suffix('W') {
        let wanted: u32 = day.parse().unwrap();
        if wanted > civil.month_length {
            return false;
        }
        let weekdays = (1..=civil.month_length).filter(|day| civil.is_weekday(*day));
        return weekdays.min_by_key(|day| day.abs_diff(wanted)) == Some(civil.day);
    }
    plain_suits(item.trim_end_matches('C'), civil.day, 1, 31)
}

fn day_of_week_suits(item: &str, civil: &Civil) -> bool {
    let item = item.to_uppercase();
    if item == "L" {
        return civil.weekday == 6;
    }
    if let Some(day) = item.strip_suffix('L') {
        return civil.weekday == number(day) % 7 && civil.day + 7 > civil.month_length;
    }
    // A range up to 7 has a value of its own for Sunday; anything else knows the 0 alone.
    let item = item.trim_end_matches('C');
    let up_to_seven = item.split_once('-').is_some_and(|(from, to)| to.starts_with('7') && number(from) < 7);
    if up_to_seven {
        return plain_suits(item, civil.weekday, 0, 7) || (civil.weekday == 0 && plain_suits(item, 7, 0, 7));
    }
    let folded: Vec<String> = item.splitn(2, ['/']).map(str::to_owned).collect();
    let base = folded[0].replace('7', "0");
    let item = folded.get(1).map_or(base.clone(), |step| format!("{base}/{step}"));
    plain_suits(&item, civil.weekday, 0, 6)
}
