//! Money: whole micro-dollars, never a float. Products round half to even.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// An amount in whole micro-dollars (10^-6 USD). Written as a decimal string on every wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Money(i64);

/// Why a text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoneyError {
    /// Not `12`, `12.5`, `12.50 USD` or `$12.50`.
    NotAnAmount(String),
    /// A currency other than USD.
    Currency(String),
    /// More than six digits behind the point.
    TooFine(String),
    /// Beyond about 9.2 million million dollars.
    TooLarge(String),
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAmount(t) => write!(f, "`{t}` is not an amount of money; write `12.50 USD`"),
            Self::Currency(c) => write!(f, "`{c}` is not a known currency; amounts are in USD"),
            Self::TooFine(t) => write!(f, "`{t}` is finer than a micro-dollar; give at most six digits behind the point"),
            Self::TooLarge(t) => write!(f, "`{t}` is more money than can be counted"),
        }
    }
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// The largest amount.
    pub const MAX: Money = Money(i64::MAX);

    /// From whole micro-dollars.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// In whole micro-dollars.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads `12`, `0.05`, `12.50 USD`, `$12.50`. No sign, no exponent, no NaN.
    ///
    /// # Errors
    /// [`MoneyError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let trimmed = text.trim();
        let body = match trimmed.split_once(char::is_whitespace) {
            Some((amount, currency)) if currency.trim().eq_ignore_ascii_case("usd") => amount,
            Some((_, currency)) => return Err(MoneyError::Currency(currency.trim().to_owned())),
            None => trimmed.strip_prefix('$').unwrap_or(trimmed),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || body.ends_with('.') {
            return Err(MoneyError::NotAnAmount(text.to_owned()));
        }
        if fraction.trim_end_matches('0').len() > 6 {
            return Err(MoneyError::TooFine(text.to_owned()));
        }
        let too_large = || MoneyError::TooLarge(text.to_owned());
        let dollars: i64 = whole.parse().map_err(|_| too_large())?;
        let micros: i64 = format!("{:0<6.6}", fraction).parse().map_err(|_| too_large())?;
        dollars.checked_mul(1_000_000).and_then(|m| m.checked_add(micros)).map(Self).ok_or_else(too_large)
    }

    /// `self * numerator / denominator`, half to even, saturating. A denominator of 0 gives [`Money::MAX`].
    #[must_use]
    pub fn scale(self, numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::MAX;
        }
        Self(div_half_even(i128::from(self.0) * i128::from(numerator), i128::from(denominator)))
    }

    /// Sum that stops at the largest amount instead of wrapping.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// As a decimal with at least two and at most six digits behind the point: `0.0205`, `12.50`.
    #[must_use]
    pub fn decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let mut text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        while text.ends_with('0') && text.len() - text.find('.').unwrap_or(0) > 3 {
            text.pop();
        }
        text
    }
}

/// Division with half-even rounding (IEEE 754 roundTiesToEven), saturating into `i64`. `d` must be positive.
#[must_use]
pub fn div_half_even(n: i128, d: i128) -> i64 {
    let (quotient, rest) = (n.div_euclid(d), n.rem_euclid(d));
    let up = rest * 2 > d || (rest * 2 == d && quotient % 2 != 0);
    i64::try_from(quotient + i128::from(up)).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Self) -> Self {
        self.saturating_add(other)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("${}", self.decimal()))
    }
}

impl Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.decimal())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        match text.strip_prefix('-') {
            Some(positive) => Money::parse(positive).map(|m| Money(-m.0)),
            None => Money::parse(&text),
        }
        .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_decimals() {
        for (text, micros, shown) in
            [("0.0205", 20_500, "$0.0205"), ("12", 12_000_000, "$12.00"), ("$3.5", 3_500_000, "$3.50"), ("40 USD", 40_000_000, "$40.00")]
        {
            let money = Money::parse(text);
            assert_eq!(money, Ok(Money(micros)), "{text}");
            assert_eq!(Money(micros).to_string(), shown);
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in ["", "-1", "1e3", "NaN", "inf", ".5", "5.", "1,000", "5 EUR", "0.0000001", "99999999999999999999", "1.2.3", "0x10"] {
            assert!(Money::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rounds_half_to_even() {
        assert_eq!(Money(1).scale(1, 2), Money(0));
        assert_eq!(Money(3).scale(1, 2), Money(2));
        assert_eq!(Money(5).scale(1, 2), Money(2));
        assert_eq!(Money(-3).scale(1, 2), Money(-2));
        assert_eq!(Money(500_000).scale(120, 3600), Money(16_667));
    }
}
