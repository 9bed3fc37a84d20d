//! What the types of secrets must not be able to do.
//!
//! A derive is easily written and easily overlooked, so the compiler is asked whether it is there.

use std::fmt::Display;
use std::hash::Hash;

/// What is true of a type that lacks a trait.
trait Lacks {
    const HAS: bool = false;
}

/// Makes a check of whether a type has a trait: the constant of the inherent impl goes before that
/// of [`Lacks`], where its bound holds. A `String` has every trait that is asked for here.
macro_rules! ability {
    ($check:ident, $bound:path) => {
        macro_rules! $check {
            ($kind:ty) => {{
                struct Probe<T>(std::marker::PhantomData<T>);
                impl<T> Lacks for Probe<T> {}
                impl<T: $bound> Probe<T> {
                    const HAS: bool = true;
                }
                Probe::<String>::HAS && Probe::<$kind>::HAS
            }};
        }
    };
}

ability!(can_be_cloned, Clone);
ability!(can_be_displayed, Display);
ability!(can_be_compared, PartialEq);
ability!(can_be_hashed, Hash);
ability!(can_be_serialised, serde::Serialize);
ability!(can_be_deserialised, serde::de::DeserializeOwned);
ability!(can_be_a_text, AsRef<str>);

/// The abilities of a type that a secret must not have, by name.
macro_rules! forbidden {
    ($kind:ty) => {{
        let abilities = [
            ("Clone", can_be_cloned!($kind)),
            ("Display", can_be_displayed!($kind)),
            ("PartialEq", can_be_compared!($kind)),
            ("Hash", can_be_hashed!($kind)),
            ("Serialize", can_be_serialised!($kind)),
            ("Deserialize", can_be_deserialised!($kind)),
            ("AsRef<str>", can_be_a_text!($kind)),
        ];
        abilities.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect::<Vec<_>>()
    }};
}

#[test]
fn a_secret_cannot_be_copied_compared_printed_or_written() {
    for (name, has) in [
        ("Card", forbidden!(model::Card)),
        ("CardRef", forbidden!(model::CardRef)),
        ("Credentials", forbidden!(model::Credentials)),
        ("Cvv", forbidden!(model::Cvv)),
        ("Operation<Card>", forbidden!(model::Operation<model::Card>)),
        ("Pan", forbidden!(model::Pan)),
        ("Payer", forbidden!(model::Payer)),
        ("Secret", forbidden!(model::Secret)),
        ("ThreeDs", forbidden!(model::ThreeDs)),
    ] {
        assert!(has.is_empty(), "{name} must not be {has:?}");
    }
}

#[test]
fn an_ability_that_is_there_is_found() {
    let of_text =
        ["Clone", "Display", "PartialEq", "Hash", "Serialize", "Deserialize", "AsRef<str>"];
    assert_eq!(forbidden!(String), of_text);
}
