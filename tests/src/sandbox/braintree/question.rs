//! The text of a GraphQL question, as far as the sandbox reads it: braces, names, and nothing that the
//! schema has not.

/// The names that are asked for, without the types, the arguments and the words of GraphQL itself.
const KNOWN: &[&str] = &[
    "__typename",
    "additionalInformation",
    "amount",
    "authorizationId",
    "authorizeCreditCard",
    "avsPostalCodeResponse",
    "avsStreetAddressResponse",
    "captureTransaction",
    "chargeCreditCard",
    "code",
    "createdAt",
    "currencyCode",
    "cvvResponse",
    "declineType",
    "edges",
    "gatewayRejectionReason",
    "id",
    "legacyCode",
    "legacyId",
    "merchantAdviceCodeResponse",
    "message",
    "networkResponse",
    "networkTransactionId",
    "node",
    "orderId",
    "paymentMethod",
    "paymentMethodSnapshot",
    "processorResponse",
    "refund",
    "refundTransaction",
    "refundedTransaction",
    "refunds",
    "reversal",
    "reverseTransaction",
    "search",
    "status",
    "statusHistory",
    "tokenizeCreditCard",
    "transaction",
    "transactions",
    "value",
    "vaultPaymentMethod",
];

/// What parts of a payment may be asked for by type.
const TYPES: &[&str] = &[
    "AuthorizedEvent",
    "CreditCardTransactionDetails",
    "FailedEvent",
    "GatewayRejectedEvent",
    "ProcessorDeclinedEvent",
    "Refund",
    "Transaction",
];

/// The fields of a question in the order of its text; none where it is no question, or asks for what
/// there is not.
pub(super) fn fields(query: &str) -> Option<Vec<&str>> {
    let body = query.get(query.find('{')?..)?;
    let depth = body.chars().try_fold(0_i32, |depth, c| match c {
        '{' => depth.checked_add(1),
        '}' => depth.checked_sub(1).filter(|depth| *depth >= 0),
        _ => Some(depth),
    });
    (depth == Some(0)).then_some(())?;
    let mut fields = Vec::new();
    let mut rest = body;
    while let Some(word) = next(&mut rest) {
        match word {
            "..." => {
                let on = next(&mut rest)? == "on";
                (on && TYPES.contains(&next(&mut rest)?)).then_some(())?;
            }
            // Arguments stand in brackets, and name variables.
            "(" => rest = rest.split_once(')')?.1,
            "{" | "}" => {}
            field => {
                KNOWN.contains(&field).then_some(())?;
                fields.push(field);
            }
        }
    }
    Some(fields)
}

/// The next word or sign.
fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let text = rest.trim_start_matches([' ', '\n', ',']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = match text.chars().next()? {
        '.' if text.starts_with("...") => 3,
        c if is_name(c) => text.find(|c: char| !is_name(c)).unwrap_or(text.len()),
        c => c.len_utf8(),
    };
    let (word, after) = text.split_at_checked(length)?;
    *rest = after;
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn what_the_schema_has_not_is_no_question() {
        let good = "query N($id: ID!) { node(id: $id) { __typename ... on Refund { id status } } }";
        assert_eq!(fields(good), Some(vec!["node", "__typename", "id", "status"]));
        for (from, to) in [
            ("status", "colour"),
            ("Refund", "Banana"),
            ("} } }", "} }"),
            ("} } }", "} } } }"),
            ("... on", "..."),
        ] {
            assert_eq!(fields(&good.replace(from, to)), None, "{from} -> {to}");
        }
        assert_eq!(fields("nothing"), None);
    }
}
