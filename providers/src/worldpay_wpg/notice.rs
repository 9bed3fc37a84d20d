//! What WPG tells of its own accord. <https://docs.worldpay.com/wpg/reference/notifications>
//!
//! Nobody signs it. So nothing is believed but that there may be something to ask for: whose order
//! it is, WPG itself is asked.

use super::account::MERCHANT_CODE;
use super::is_order_code;
use crate::Cx;
use crate::webhook::{self, Delivery, Unproven};
use crate::wire::xml::Element;
use model::{About, Notice, Subject};

pub(super) fn read(delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
    let merchant = cx.find(&MERCHANT_CODE).ok_or(Unproven::NotExpected)?;
    let document = Element::parse(delivery.body).ok_or(Unproven::Unreadable)?;
    let service = document.is("paymentService").then_some(&document).ok_or(Unproven::Unreadable)?;
    // The merchant code is exposed to be compared; it is not a secret.
    if service.attribute("merchantCode") != Some(merchant.expose()) {
        return Err(Unproven::Account);
    }
    let event = service.at(&["notify", "orderStatusEvent"]).ok_or(Unproven::Unreadable)?;
    let order = event.attribute("orderCode").filter(|code| is_order_code(code));
    let order: Box<str> = order.ok_or(Unproven::Unreadable)?.into();
    let about = About {
        subject: Subject::Payment,
        key: webhook::key(&order),
        payment_key: None,
        payment: Some(order.clone()),
        action: None,
        merchant_reference: None,
    };
    Ok(vec![Notice { name: order, about, report: None }])
}

#[cfg(test)]
mod tests {
    use crate::webhook::played::{NOW, cut};
    use crate::webhook::{Unproven, played};
    use model::Notice;

    fn read(body: &str) -> Result<Vec<Notice>, Unproven> {
        let credentials = [("MerchantCode", "MERCHANTCODE")];
        played::read("worldpay_wpg", &credentials, ("content-type", "text/xml"), body, NOW)
    }

    fn body(merchant: &str, order: &str) -> String {
        format!(
            "<!DOCTYPE paymentService PUBLIC \"-//WorldPay//DTD WorldPay PaymentService v1//EN\" \
             \"http://dtd.worldpay.com/paymentService_v1.dtd\">\
             <paymentService version=\"1.4\" merchantCode=\"{merchant}\"><notify>\
             <orderStatusEvent orderCode=\"{order}\"><payment><lastEvent>CAPTURED</lastEvent>\
             </payment></orderStatusEvent></notify></paymentService>"
        )
    }

    #[test]
    fn an_order_is_named_and_nothing_that_is_said_of_it_is_believed() {
        let key = "019a00000000000000000000000000aa";
        let notices = read(&body("MERCHANTCODE", key)).unwrap();
        assert_eq!(notices[0].about.key.as_deref(), Some(key));
        assert_eq!((notices.len(), &notices[0].report), (1, &None));
        let theirs = read(&body("MERCHANTCODE", "order-1")).unwrap();
        let about = &theirs[0].about;
        assert_eq!((about.key.as_deref(), about.payment.as_deref()), (None, Some("order-1")));
    }

    #[test]
    fn what_is_not_such_a_message_or_for_another_merchant_is_refused() {
        let whole = body("MERCHANTCODE", "order-1");
        for (body, why) in [
            (body("OTHER", "order-1"), Unproven::Account),
            (body("MERCHANTCODE", ""), Unproven::Unreadable),
            (body("MERCHANTCODE", "a b"), Unproven::Unreadable),
            (cut(&whole, whole.len().saturating_sub(20)).to_owned(), Unproven::Unreadable),
            (whole.replace("notify", "reply"), Unproven::Unreadable),
            (String::new(), Unproven::Unreadable),
        ] {
            assert_eq!(read(&body), Err(why), "{body}");
        }
    }
}
