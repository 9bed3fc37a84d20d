//! Documents, and which elements they may have in which order.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// How deep elements may stand in each other.
const DEPTH_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Self>,
    pub(super) text: String,
}

/// What an element may have: its attributes, and its children in their order. A `!` stands behind
/// what must be there.
struct Rule {
    name: &'static str,
    attributes: &'static [&'static str],
    children: &'static [&'static str],
}

const fn rule(
    name: &'static str,
    attributes: &'static [&'static str],
    children: &'static [&'static str],
) -> Rule {
    Rule { name, attributes, children }
}

/// From the documents that public integrations send. Whatever is not here has a text and nothing else.
const RULES: &[Rule] = &[
    rule("paymentService", &["version!", "merchantCode!"], &["submit", "modify", "inquiry"]),
    rule("submit", &[], &["order", "paymentTokenCreate"]),
    rule(
        "order",
        &["orderCode!", "captureDelay"],
        &["description!", "amount!", "paymentDetails!", "shopper", "createToken"],
    ),
    rule("amount", &["value!", "currencyCode!", "exponent!"], &[]),
    rule(
        "paymentDetails",
        &[],
        &["CARD-SSL", "TOKEN-SSL", "storedCredentials", "session", "info3DSecure"],
    ),
    rule("TOKEN-SSL", &["tokenScope!"], &["paymentTokenID!"]),
    rule("shopper", &[], &["authenticatedShopperID!"]),
    rule("createToken", &["tokenScope!"], &["tokenEventReference!"]),
    rule(
        "paymentTokenCreate",
        &[],
        &["authenticatedShopperID!", "createToken!", "paymentInstrument!"],
    ),
    rule("paymentInstrument", &[], &["cardDetails!"]),
    rule("cardDetails", &[], &["cardNumber!", "expiryDate!", "cardHolderName!", "cardAddress"]),
    rule(
        "storedCredentials",
        &["usage!", "customerInitiatedReason", "merchantInitiatedReason"],
        &["schemeTransactionIdentifier"],
    ),
    rule(
        "CARD-SSL",
        &[],
        &["cardNumber!", "expiryDate!", "cardHolderName!", "cvc", "cardAddress"],
    ),
    rule("expiryDate", &[], &["date!"]),
    rule("date", &["dayOfMonth", "month!", "year!"], &[]),
    rule("cardAddress", &[], &["address!"]),
    rule(
        "address",
        &[],
        &["address1", "address2", "address3", "postalCode", "city", "state", "countryCode!"],
    ),
    rule("session", &["id!", "shopperIPAddress"], &[]),
    rule("info3DSecure", &[], &["threeDSVersion!", "dsTransactionId", "xid", "cavv!", "eci!"]),
    rule("modify", &[], &["orderModification!"]),
    rule("orderModification", &["orderCode!"], &["capture", "cancel", "refund"]),
    rule("capture", &["reference"], &["date", "amount!"]),
    rule("refund", &["reference"], &["amount!"]),
    rule("cancel", &["immediate"], &[]),
    rule("inquiry", &[], &["orderInquiry!"]),
    rule("orderInquiry", &["orderCode!"], &[]),
];

const LEAVES: &[&str] = &[
    "description", "cardNumber", "cardHolderName", "cvc", "address1", "address2", "address3",
    "postalCode", "city", "state", "countryCode", "threeDSVersion", "dsTransactionId", "xid", "cavv",
    "eci", "schemeTransactionIdentifier", "paymentTokenID", "authenticatedShopperID",
    "tokenEventReference",
];

// === impl Element ===

impl Element {
    /// Reads a document that has a type and declares nothing of its own.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::from_str(std::str::from_utf8(bytes).ok()?);
        let mut open = vec![Self::default()];
        let mut typed = false;
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) if open.len() <= DEPTH_MAX => open.push(Self::begun(&start)?),
                Event::Start(_) => return None,
                Event::Empty(start) => open.last_mut()?.children.push(Self::begun(&start)?),
                Event::End(_) => {
                    let element = open.pop()?;
                    open.last_mut()?.children.push(element);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text),
                Event::GeneralRef(name) => {
                    let text = quick_xml::escape::resolve_xml_entity(&name)?;
                    open.last_mut()?.text.push_str(text);
                }
                Event::DocType(text) if !text.contains('[') => typed = true,
                Event::Decl(_) => {}
                Event::CData(_) | Event::Comment(_) | Event::DocType(_) | Event::PI(_) => {
                    return None;
                }
                Event::Eof => break,
            }
        }
        let document = open.pop().filter(|_| typed && open.is_empty())?;
        let mut roots = document.children.into_iter();
        roots.next().filter(|root| root.name == "paymentService" && roots.next().is_none())
    }

    fn begun(start: &BytesStart<'_>) -> Option<Self> {
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.ok()?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned();
            attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        Some(Self { name: start.name().as_ref().to_owned(), attributes, ..Self::default() })
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// The first element of this name, here or below.
    pub(super) fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// The text of the first element of this name, or nothing.
    pub(super) fn words(&self, name: &str) -> &str {
        self.find(name).map_or("", |element| element.text.trim())
    }

    /// Whether this and all below have what they must and may have, in their order.
    pub(super) fn is_in_order(&self) -> bool {
        let Some(rule) = RULES.iter().find(|rule| rule.name == self.name) else {
            let leaf = LEAVES.contains(&&*self.name);
            return leaf && self.attributes.is_empty() && self.children.is_empty();
        };
        let names: Vec<_> = self.attributes.iter().map(|(name, _)| &**name).collect();
        let known = names.iter().all(|name| rule.attributes.iter().any(|a| bare(a) == *name));
        let complete = rule.attributes.iter().all(|a| !a.ends_with('!') || names.contains(&bare(a)));
        let blank = self.text.trim().is_empty();
        let one = rule.name != "paymentDetails" || self.is_paid_once();
        known && complete && blank && one && self.has(rule.children) && self.children.iter().all(Self::is_in_order)
    }

    /// With a card or with a token, and with one of them only.
    fn is_paid_once(&self) -> bool {
        let paid = |child: &&Self| matches!(&*child.name, "CARD-SSL" | "TOKEN-SSL");
        self.children.iter().filter(paid).count() == 1
    }

    fn has(&self, rule: &[&str]) -> bool {
        let mut children = self.children.iter().map(|child| &*child.name).peekable();
        for wanted in rule {
            let found = children.next_if(|name| *name == bare(wanted)).is_some();
            if !found && wanted.ends_with('!') {
                return false;
            }
        }
        children.next().is_none()
    }
}

fn bare(name: &str) -> &str {
    name.trim_end_matches('!')
}
