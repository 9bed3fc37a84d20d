//! The schemes, as CyberSource names them.

/// The scheme of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brand {
    Amex,
    Diners,
    Discover,
    Jcb,
    Mastercard,
    UnionPay,
    Visa,
}

/// The scheme that a number belongs to by its first digits.
pub(super) fn of(number: &str) -> Option<Brand> {
    let first = |digits: usize| number.get(..digits)?.parse::<u32>().ok();
    let two = first(2)?;
    Some(match (two, first(3)?, first(4)?) {
        (34 | 37, ..) => Brand::Amex,
        (36 | 38 | 39, ..) | (_, 300..=305, _) => Brand::Diners,
        (65, ..) | (_, 644..=649, _) | (_, _, 6011) => Brand::Discover,
        (_, _, 3528..=3589) => Brand::Jcb,
        (51..=55, ..) | (_, _, 2221..=2720) => Brand::Mastercard,
        (62, ..) => Brand::UnionPay,
        (40..=49, ..) => Brand::Visa,
        _ => return None,
    })
}

/// The indicator for a payment that was authenticated with this result.
pub(super) fn indicator(brand: Option<Brand>, eci: &str) -> &'static str {
    let (full, attempted) = match brand {
        Some(Brand::Amex) => ("aesk", "aesk_attempted"),
        Some(Brand::Diners) => ("pb", "pb_attempted"),
        Some(Brand::Discover) => ("dipb", "dipb_attempted"),
        Some(Brand::Jcb) => ("js", "js_attempted"),
        Some(Brand::Mastercard) => ("spa", "spa"),
        Some(Brand::Visa) => ("vbv", "vbv_attempted"),
        Some(Brand::UnionPay) | None => ("internet", "internet"),
    };
    match eci {
        "02" | "05" => full,
        "01" | "06" => attempted,
        _ => "internet",
    }
}

// === impl Brand ===

impl Brand {
    /// CyberSource's code for it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Amex => "003",
            Self::Diners => "005",
            Self::Discover => "004",
            Self::Jcb => "007",
            Self::Mastercard => "002",
            Self::UnionPay => "062",
            Self::Visa => "001",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Brand, indicator, of};

    #[test]
    fn a_number_tells_its_scheme_by_its_beginning() {
        for (number, expected) in [
            ("4111", Some(Brand::Visa)),
            ("5105", Some(Brand::Mastercard)),
            ("2221", Some(Brand::Mastercard)),
            ("2720", Some(Brand::Mastercard)),
            ("2220", None),
            ("2721", None),
            ("3400", Some(Brand::Amex)),
            ("3700", Some(Brand::Amex)),
            ("3528", Some(Brand::Jcb)),
            ("3589", Some(Brand::Jcb)),
            ("3000", Some(Brand::Diners)),
            ("3600", Some(Brand::Diners)),
            ("6011", Some(Brand::Discover)),
            ("6440", Some(Brand::Discover)),
            ("6200", Some(Brand::UnionPay)),
            ("6759", None),
            ("", None),
        ] {
            assert_eq!(of(number), expected, "{number}");
        }
    }

    #[test]
    fn an_authentication_is_named_by_scheme_and_result() {
        for (brand, eci, expected) in [
            (Some(Brand::Visa), "05", "vbv"),
            (Some(Brand::Visa), "06", "vbv_attempted"),
            (Some(Brand::Visa), "07", "internet"),
            (Some(Brand::Mastercard), "02", "spa"),
            (Some(Brand::Mastercard), "00", "internet"),
            (Some(Brand::Amex), "05", "aesk"),
            (None, "05", "internet"),
        ] {
            assert_eq!(indicator(brand, eci), expected, "{brand:?} {eci}");
        }
    }
}
