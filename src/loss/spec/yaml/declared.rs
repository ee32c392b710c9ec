//! A parameter as a source declares it: a default value, or that with the range it must keep to.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::loss::spec::Parameter;

/// `NAME: VALUE` or `NAME: {default: VALUE, above: …}`, the right-hand side.
pub(super) struct Declared(pub Parameter);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounded {
    default: f64,
    above: Option<f64>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

impl<'de> Deserialize<'de> for Declared {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Declaration)
    }
}

struct Declaration;

impl<'de> Visitor<'de> for Declaration {
    type Value = Declared;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, or {default: NUMBER} with any of above, at_least and at_most")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Declared, E> {
        Ok(Declared(Parameter { value, above: None, at_least: None, at_most: None }))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Declared, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Declared, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Declared, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Declared, E> {
        self.visit_f64(value as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Declared, A::Error> {
        let Bounded { default, above, at_least, at_most } =
            Bounded::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Declared(Parameter { value: default, above, at_least, at_most }))
    }
}
