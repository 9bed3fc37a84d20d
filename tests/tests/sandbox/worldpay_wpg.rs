//! WPG: what is refused, what is declined, and what may follow what.

use super::talk::Talk;

const TYPE: &str = "<!DOCTYPE paymentService PUBLIC \"-//WorldPay//DTD WorldPay PaymentService v1//EN\" \
                    \"http://dtd.worldpay.com/paymentService_v1.dtd\">";
const AMOUNT: &str = "<amount value=\"1099\" currencyCode=\"GBP\" exponent=\"2\"/>";
const CARD: &str = "<cardNumber>4444333322221111</cardNumber><expiryDate><date month=\"05\" \
                    year=\"2035\"/></expiryDate><cardHolderName>Ann Example</cardHolderName>\
                    <cvc>123</cvc>";

fn document(contents: &str) -> String {
    format!(
        "{TYPE}<paymentService version=\"1.4\" merchantCode=\"SHOP\">{contents}</paymentService>"
    )
}

fn order(code: &str) -> String {
    document(&format!(
        "<submit><order orderCode=\"{code}\" captureDelay=\"OFF\"><description>x</description>\
         {AMOUNT}<paymentDetails><CARD-SSL>{CARD}</CARD-SSL></paymentDetails></order></submit>"
    ))
}

fn modify(code: &str, change: &str) -> String {
    document(&format!(
        "<modify><orderModification orderCode=\"{code}\">{change}</orderModification></modify>"
    ))
}

async fn ask(talk: &Talk, document: String) -> (u16, String) {
    let path = "/worldpay_wpg/jsp/merchant/xml/paymentService.jsp";
    let answer = talk.worldpay("text/xml").send_bytes("POST", path, document).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test]
async fn elements_stand_in_the_order_of_the_document_type() {
    let talk = Talk::start();
    let good = order("ORD-1");
    for (from, to, why) in [
        (TYPE, "", "no document type"),
        (TYPE, "<!DOCTYPE paymentService [<!ENTITY x \"y\">]>", "one of its own"),
        ("<description>x</description>", "", "no description"),
        ("<cvc>123</cvc>", "<cvc>123</cvc><cvc>123</cvc>", "one too many"),
        ("<cardNumber>4444333322221111</cardNumber><expiryDate>", "<expiryDate>", "no number"),
        (" exponent=\"2\"", "", "no exponent"),
        ("captureDelay", "delay", "an attribute that is not known"),
        ("Ann Example", "<b>Ann</b>", "an element in a text"),
        ("</order>", "<colour>red</colour></order>", "an element that is not known"),
        ("</submit>", "", "broken off"),
    ] {
        let (status, text) = ask(&talk, good.replace(from, to)).await;
        assert!(status == 200 && text.contains("<error code=\"2\">"), "{why}: {text}");
    }
    let swapped = good.replace(
        &format!("<description>x</description>{AMOUNT}"),
        &format!("{AMOUNT}<description>x</description>"),
    );
    assert!(ask(&talk, swapped).await.1.contains("<error code=\"2\">"));
    assert_eq!(talk.lines(), Vec::<String>::new());
    assert!(ask(&talk, good).await.1.contains("AUTHORISED"));
}

#[tokio::test]
async fn errors_are_told_with_status_200() {
    let talk = Talk::start();
    for (from, to, expected) in [
        ("\"SHOP\"", "\"UNKNOWN\"", "<error code=\"4\">"),
        ("4444333322221111", "4444333322221112", "<error code=\"7\">"),
        ("month=\"05\"", "month=\"13\"", "<error code=\"7\">"),
        ("\"1099\"", "\"0\"", "<error code=\"5\">"),
        ("Ann Example", "REFUSED51", "<ISO8583ReturnCode code=\"51\""),
    ] {
        let (status, text) = ask(&talk, order("ORD-1").replace(from, to)).await;
        assert!(status == 200 && text.contains(expected), "{to}: {text}");
    }
    assert!(ask(&talk, order("ORD-1")).await.1.contains("Duplicate Order"));
    let inquiry = document("<inquiry><orderInquiry orderCode=\"ORD-2\"/></inquiry>");
    assert!(ask(&talk, inquiry).await.1.contains("Could not find payment for order"));
}

#[tokio::test]
async fn changes_are_received_where_the_order_allows_them() {
    let talk = Talk::start();
    ask(&talk, order("ORD-1")).await;
    let amount = |units: u64| AMOUNT.replace("1099", &units.to_string());
    for (change, expected) in [
        (format!("<refund reference=\"r0\">{}</refund>", amount(1)), "<error code=\"5\">"),
        (format!("<capture reference=\"c1\">{}</capture>", amount(500)), "captureReceived"),
        (format!("<capture>{}</capture>", amount(600)), "<error code=\"5\">"),
        (format!("<refund reference=\"r1\">{}</refund>", amount(200)), "refundReceived"),
        ("<cancel/>".to_owned(), "<error code=\"5\">"),
    ] {
        let (_, text) = ask(&talk, modify("ORD-1", &change)).await;
        assert!(text.contains(expected), "{change}: {text}");
    }
    let inquiry = document("<inquiry><orderInquiry orderCode=\"ORD-1\"/></inquiry>");
    let (_, text) = ask(&talk, inquiry).await;
    assert!(text.contains("SENT_FOR_REFUND") && text.contains("<reference>r1</reference>"));
    let lines =
        ["authorize Approved 1099 GBP", "capture Approved 500 GBP", "refund Approved 200 GBP"];
    assert_eq!(talk.lines(), lines);
}

#[tokio::test]
async fn a_card_is_kept_for_a_shopper_and_charged_in_his_name() {
    let talk = Talk::start();
    let card = CARD.replace("<cvc>123</cvc>", "");
    let create = document(&format!(
        "<submit><paymentTokenCreate><authenticatedShopperID>cust-77</authenticatedShopperID>\
         <createToken tokenScope=\"shopper\"><tokenEventReference>e</tokenEventReference>\
         </createToken><paymentInstrument><cardDetails>{card}</cardDetails></paymentInstrument>\
         </paymentTokenCreate></submit>"
    ));
    for (from, to, expected) in [
        ("4444333322221111", "4444333322221112", "<error code=\"7\">"),
        ("</cardHolderName>", "</cardHolderName><cvc>123</cvc>", "<error code=\"2\">"),
        (" tokenScope=\"shopper\"", "", "<error code=\"2\">"),
    ] {
        let (_, text) = ask(&talk, create.replace(from, to)).await;
        assert!(text.contains(expected), "{from}: {text}");
    }
    let (_, kept) = ask(&talk, create).await;
    let (_, rest) = kept.split_once("<paymentTokenID>").unwrap();
    let (token, _) = rest.split_once('<').unwrap();
    let paid = |code: &str, shopper: &str| {
        let token = format!(
            "<TOKEN-SSL tokenScope=\"shopper\"><paymentTokenID>{token}</paymentTokenID></TOKEN-SSL>"
        );
        let shopper = format!(
            "</paymentDetails><shopper><authenticatedShopperID>{shopper}</authenticatedShopperID>\
             </shopper>"
        );
        let card = format!("<CARD-SSL>{CARD}</CARD-SSL>");
        order(code).replace(&card, &token).replace("</paymentDetails>", &shopper)
    };
    assert!(ask(&talk, paid("ORD-1", "cust-77")).await.1.contains("AUTHORISED"));
    assert!(ask(&talk, paid("ORD-2", "cust-78")).await.1.contains("<error code=\"5\">"));
    let both = format!("<CARD-SSL>{CARD}</CARD-SSL><TOKEN-SSL");
    let both = paid("ORD-3", "cust-77").replace("<TOKEN-SSL", &both);
    assert!(ask(&talk, both).await.1.contains("<error code=\"2\">"));
    assert_eq!(talk.lines(), ["authorize Approved 1099 GBP"]);
}
