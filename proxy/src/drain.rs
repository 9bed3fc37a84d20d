//! How the program ends: it takes no new payments, waits for those that run, and goes.

use crate::causes::causes;
use crate::certificates::Certificates;
use crate::shared::Shared;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

/// Watches the signals of the operating system.
///
/// SIGTERM and SIGINT end the program as soon as no payment runs any more, or after the grace
/// period. SIGHUP reads the certificates again.
pub(crate) struct Watch {
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) grace: Duration,
    pub(crate) shared: Arc<Shared>,
}

/// How often it is looked whether payments still run.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the last answers have to leave, once the last payment has ended.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        self.wait_for_the_end().await;
        self.drain().await;
        // Pingora's graceful way would sleep through the whole grace period, payments or not.
        ShutdownSignal::FastShutdown
    }
}

// === impl Watch ===

impl Watch {
    async fn wait_for_the_end(&self) {
        let (mut term, mut int, mut hup) = match signals() {
            Ok(signals) => signals,
            Err(error) => {
                log::error!("signals cannot be watched: {error}");
                return std::future::pending().await;
            }
        };
        loop {
            tokio::select! {
                _ = term.recv() => return,
                _ = int.recv() => return,
                _ = hup.recv() => self.reload(),
            }
        }
    }

    fn reload(&self) {
        let Some(certificates) = &self.certificates else { return };
        match certificates.reload() {
            Ok(()) => log::info!("the certificates were read again"),
            Err(error) => log::error!("the old certificates stay in use: {}", causes(&error)),
        }
    }

    async fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        log::info!("ending: {} payments still run", self.shared.metrics.payments_in_flight());
        let until = Instant::now().checked_add(self.grace);
        // Not at once: a request may have seen the moment before that payments are taken, and be about
        // to be counted.
        sleep(LOOK_EVERY).await;
        while self.shared.metrics.payments_in_flight() > 0
            && until.is_some_and(|until| Instant::now() < until)
        {
            sleep(LOOK_EVERY).await;
        }
        sleep(LAST_ANSWERS).await;
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ))
}
