//! What is known of a user's password: shadow(5) with the rules of `passwd -S`.

use crate::nss::{Account, Shadow};
use jiff::Span;
use jiff::civil::date;
use libc::c_long;
use serde::Serialize;

/// Never the password itself, nor its hash.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Password {
    /// As `passwd -S` says it: that of the shadow entry, or, where there is none,
    /// of the field in the passwd database.
    pub state: State,
    /// Whether the password must be changed at the next login, as pam_unix(8)
    /// finds it: the last change is day 0 (`passwd -e`), or today is more than
    /// `max_days` after it. `false` where there is no last change or no maximum.
    pub expired: bool,
    /// The day of the last change, in UTC: "2024-02-29". "1970-01-01" is how an
    /// administrator asks for a change. `null`: not set (or a negative day), and the
    /// password does not age; or a day after the year 9999.
    pub last_change: Option<String>,
    /// Days that must go by from one change to the next. `null`: not set.
    pub min_days: Option<c_long>,
    /// Days after which the password must be changed. `null`: not set. 99999 is
    /// the usual word for never.
    pub max_days: Option<c_long>,
    /// Days before the password expires from which on the user is warned. `null`:
    /// not set.
    pub warn_days: Option<c_long>,
    /// Days after the password's expiry in which it may still be changed at a
    /// login. `null`: not set, and there is no end to it.
    pub inactive_days: Option<c_long>,
    /// The first day on which the account can no longer be used, in UTC. `null`:
    /// not set (or a negative day); or a day after the year 9999.
    pub account_expires: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No password fits: it begins with `!` or `*` (`passwd -S` says L).
    Locked,
    /// No password is needed (NP).
    Empty,
    /// Anything else (P).
    Set,
}

impl State {
    fn of(password: &[u8]) -> Self {
        match password.first() {
            Some(b'!' | b'*') => State::Locked,
            None => State::Empty,
            Some(_) => State::Set,
        }
    }
}

impl Password {
    /// `None` where it cannot be known: the passwd database says that the password
    /// is in the shadow database, and there is no entry, or it may not be read.
    /// `today` is a number of days since 1970.
    pub fn of(account: &Account, shadow: Option<&Shadow>, today: c_long) -> Option<Self> {
        match shadow {
            Some(shadow) => Some(Password {
                state: State::of(shadow.password.as_bytes()),
                expired: expired(shadow.last_change, shadow.max, today),
                last_change: shadow.last_change.and_then(day),
                min_days: shadow.min,
                max_days: shadow.max,
                warn_days: shadow.warn,
                inactive_days: shadow.inactive,
                account_expires: shadow.expires.and_then(day),
            }),
            None if account.is_shadowed() => None,
            None => Some(Password {
                state: State::of(account.password.as_bytes()),
                expired: false,
                last_change: None,
                min_days: None,
                max_days: None,
                warn_days: None,
                inactive_days: None,
                account_expires: None,
            }),
        }
    }
}

fn expired(last_change: Option<c_long>, max: Option<c_long>, today: c_long) -> bool {
    match (last_change, max) {
        (Some(0), _) => true,
        (Some(last_change), Some(max)) if last_change > 0 => last_change.saturating_add(max) < today,
        _ => false,
    }
}

/// The date of a day since 1970. To chage and passwd a negative one is "never".
fn day(days: c_long) -> Option<String> {
    let days = Span::new().try_days(days).ok().filter(|days| !days.is_negative())?;
    date(1970, 1, 1).checked_add(days).ok().map(|date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aspire_plugin::Text;

    /// 2026-01-01.
    const TODAY: c_long = 20454;

    fn account(password: &str) -> Account {
        Account {
            name: Text::from("ann"),
            password: Text::from(password),
            uid: 1000,
            gid: 1000,
            gecos: Text::from(""),
            home: Text::from("/"),
            shell: Text::from(""),
        }
    }

    fn shadow(password: &str, last_change: Option<c_long>, max: Option<c_long>) -> Shadow {
        Shadow {
            name: Text::from("ann"),
            password: Text::from(password),
            last_change,
            min: None,
            max,
            warn: None,
            inactive: None,
            expires: None,
        }
    }

    #[test]
    fn the_state_is_what_passwd_says() {
        let state = |password| Password::of(&account("x"), Some(&shadow(password, None, None)), TODAY);
        for (password, expected) in [
            ("!", State::Locked),
            ("*", State::Locked),
            ("!!", State::Locked),
            ("!$6$salt$hash", State::Locked),
            ("*LK*", State::Locked),
            ("", State::Empty),
            ("$y$j9T$salt$hash", State::Set),
            ("x", State::Set),
            ("rU4.gOzYKcq3Q", State::Set),
        ] {
            assert_eq!(state(password).unwrap().state, expected, "{password}");
        }
    }

    #[test]
    fn without_a_shadow_entry_the_passwd_field_counts() {
        let state = |password| Password::of(&account(password), None, TODAY).map(|known| known.state);
        assert_eq!(state("x"), None);
        assert_eq!(state(""), Some(State::Empty));
        assert_eq!(state("*"), Some(State::Locked));
        assert_eq!(state("rU4.gOzYKcq3Q"), Some(State::Set));
        assert_eq!(state("xx"), Some(State::Set));
        let known = Password::of(&account("*"), Some(&shadow("", None, None)), TODAY).unwrap();
        assert_eq!(known.state, State::Empty);
    }

    #[test]
    fn a_password_expires_on_the_day_after_its_last() {
        for (last_change, max, expected) in [
            (Some(TODAY - 90), Some(90), false),
            (Some(TODAY - 91), Some(90), true),
            (Some(TODAY), Some(0), false),
            (Some(TODAY - 1), Some(0), true),
            (Some(TODAY + 9), Some(0), false),
            (Some(1), Some(99999), false),
            (Some(1), None, false),
            (Some(-7), Some(1), false),
            (None, Some(1), false),
            (None, None, false),
            (Some(0), None, true),
            (Some(0), Some(99999), true),
            (Some(i64::from(i32::MAX) as c_long), Some(i64::from(i32::MAX) as c_long), false),
        ] {
            assert_eq!(expired(last_change, max, TODAY), expected, "{last_change:?} {max:?}");
        }
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(day(0).as_deref(), Some("1970-01-01"));
        assert_eq!(day(19782).as_deref(), Some("2024-02-29"));
        assert_eq!(day(TODAY).as_deref(), Some("2026-01-01"));
        assert_eq!(day(-7), None);
        assert_eq!(day(2_932_896).as_deref(), Some("9999-12-31"));
        assert_eq!(day(2_932_897), None);
        assert_eq!(day(c_long::MAX), None);
        assert_eq!(day(c_long::MIN), None);
    }
}
