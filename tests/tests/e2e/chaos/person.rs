//! A person who looks at Adyen's books, and tells the program what Adyen never got.
//!
//! Adyen cannot be asked for a payment, and sends no webhook about one that it did not make.

use super::Form;
use super::journal::Payment;
use std::time::{Duration, Instant};
use tests::net::Net;

/// What the program says where Adyen may still have the request, before and behind the seconds.
const TOO_EARLY: (&str, &str) = ("may still carry it out: say so in ", " s");
/// What it says while the resolver has the payment in hand, which is a moment only.
const IN_HAND: &str = "it is being asked about at this moment";
/// How long a person waits until all of it may be told: Adyen's lag, and some.
const PATIENCE: Duration = Duration::from_secs(16 * 60);
const PAUSE: Duration = Duration::from_millis(100);

/// How many payments were told of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) told: usize,
    /// Of how many it was too early to tell.
    pub(super) early: usize,
}

/// What came of telling once.
enum Said {
    Taken,
    /// To be told again after this.
    Early(Duration),
}

/// Tells that these were not executed. After a long storm it waits until that may be told.
pub(super) async fn tell(net: &Net, payments: &[&Payment], form: Form) -> Told {
    let began = Instant::now();
    let mut all = Told::default();
    for payment in payments {
        loop {
            match (say(net, &payment.id).await, form) {
                (Said::Taken, _) => all.told += 1,
                (Said::Early(_), Form::Short) => all.early += 1,
                (Said::Early(left), Form::Long) => {
                    assert!(began.elapsed() + left < PATIENCE, "I7: {payment:?} in {left:?}");
                    tokio::time::sleep(left).await;
                    continue;
                }
            }
            break;
        }
    }
    all
}

/// Runs the command of the program, as a person does.
async fn say(net: &Net, id: &str) -> Said {
    let by = ["--as", "not-executed", "--by", "ada", "--reason", "not in the Customer Area"];
    let arguments = [&["transactions", "resolve", id], &by[..]].concat();
    loop {
        let Err(refused) = net.run(&arguments) else { return Said::Taken };
        let refused = refused.to_string();
        if let Some((_, rest)) = refused.split_once(TOO_EARLY.0) {
            let seconds = rest.split(TOO_EARLY.1).next().unwrap();
            return Said::Early(Duration::from_secs(seconds.parse::<u64>().unwrap() + 1));
        }
        assert!(refused.contains(IN_HAND), "{id}: {refused}");
        tokio::time::sleep(PAUSE).await;
    }
}
