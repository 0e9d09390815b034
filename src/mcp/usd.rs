//! Money on the wire of agents: decimal strings out, decimal strings or plain numbers in. No float ever holds it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use crate::base::Money;

/// US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Usd(pub Money);

impl From<Money> for Usd {
    fn from(money: Money) -> Self {
        Self(money)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // A JSON number is read by its digits: they are what the agent wrote.
        let text = match Value::deserialize(from)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => return Err(D::Error::custom(format!("`{other}` is not an amount of money; write 0.05 or \"0.05\""))),
        };
        Money::parse(&text).map(Self).map_err(|e| D::Error::custom(crate::base::text::escape(&e.to_string())))
    }
}

impl JsonSchema for Usd {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "maxLength": 40, "description": "US dollars, at most six digits behind the point: \"0.05\""})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_by_its_digits() {
        let read = |text: &str| serde_json::from_str::<Usd>(text).map(|u| u.0.micros()).map_err(|e| e.to_string());
        assert_eq!(read("0.05"), Ok(50_000));
        assert_eq!(read("\"0.0205\""), Ok(20_500));
        assert_eq!(read("7"), Ok(7_000_000));
        assert!(read("-1").unwrap_err().contains("not an amount"));
        assert!(read("1e300").unwrap_err().contains("not an amount"));
        assert!(read("0.00000001").unwrap_err().contains("not an amount"));
        assert!(read("\"NaN\"").unwrap_err().contains("not an amount"));
        assert!(read("[1]").unwrap_err().contains("not an amount"));
        assert_eq!(serde_json::to_string(&Usd(Money::from_micros(20_500))).unwrap(), "\"0.0205\"");
    }
}
