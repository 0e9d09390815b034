//! Quantities of the Kubernetes API: `2`, `1500m`, `123456789n`, `3Gi`, `1e3`.
//!
//! In: text. Out: whole billionths, exact (apimachinery's `resource.Quantity`). Must never round down: a request is no smaller than it
//! says.

/// One unit in billionths.
const NANO: u128 = 1_000_000_000;

/// Billionths of the unit; none for what is no quantity, is negative, or is beyond all counting.
#[must_use]
pub fn nanos(text: &str) -> Option<u128> {
    let text = text.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(factor(suffix)?)?;
    let places = u32::try_from(fraction.len()).ok()?;
    Some(scaled.div_ceil(10_u128.checked_pow(places)?))
}

/// Billionths in one unit with this suffix.
fn factor(suffix: &str) -> Option<u128> {
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|e| !e.is_empty());
    if let Some(exponent) = exponent.filter(|e| !e.starts_with('i')) {
        let exponent: i32 = exponent.parse().ok().filter(|e| (-9..=20).contains(e))?;
        return 10_u128.checked_pow(u32::try_from(exponent + 9).ok()?);
    }
    let power = |p: u32| Some(NANO << (10 * p));
    match suffix {
        "n" => Some(1),
        "u" => Some(1000),
        "m" => Some(1_000_000),
        "" => Some(NANO),
        "k" => Some(NANO * 1000),
        "M" => Some(NANO * 1_000_000),
        "G" => Some(NANO * 1_000_000_000),
        "T" => Some(NANO * 1_000_000_000_000),
        "P" => Some(NANO * 1_000_000_000_000_000),
        "E" => Some(NANO * 1_000_000_000_000_000_000),
        "Ki" => power(1),
        "Mi" => power(2),
        "Gi" => power(3),
        "Ti" => power(4),
        "Pi" => power(5),
        "Ei" => power(6),
        _ => None,
    }
}

/// Thousandths of a core, rounded up.
#[must_use]
pub fn cpu_millis(text: &str) -> Option<u64> {
    u64::try_from(nanos(text)?.div_ceil(1_000_000)).ok()
}

/// Whole units (bytes, GPUs), rounded up.
#[must_use]
pub fn whole(text: &str) -> Option<u64> {
    u64::try_from(nanos(text)?.div_ceil(NANO)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        for (text, millis) in
            [("2", 2000), ("1500m", 1500), ("0.5", 500), ("250000000n", 250), ("1n", 1), ("1e3", 1_000_000), ("100u", 1), (".5", 500)]
        {
            assert_eq!(cpu_millis(text), Some(millis), "{text}");
        }
        for (text, bytes) in
            [("3Gi", 3 << 30), ("1.5Ki", 1536), ("128974848", 128_974_848), ("129e6", 129_000_000), ("1E", 1_000_000_000_000_000_000)]
        {
            assert_eq!(whole(text), Some(bytes), "{text}");
        }
        for text in ["", "-1", "NaN", "Gi", "1.2.3", "1 Gi", "1e99", "1ei", "9999999999999999999999999999999999999", "\u{1b}[1m", "1é"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (nanos(&text), cpu_millis(&text), whole(&text));
        }

        #[test]
        fn a_suffix_scales_and_nothing_is_lost(n in 0_u64..1 << 40) {
            prop_assert_eq!(whole(&n.to_string()), Some(n));
            prop_assert_eq!(whole(&format!("{n}Ki")), Some(n << 10));
            prop_assert_eq!(cpu_millis(&format!("{n}m")), Some(n));
            prop_assert_eq!(cpu_millis(&format!("{n}n")), Some(n.div_ceil(1_000_000)));
        }
    }
}
