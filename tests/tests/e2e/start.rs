//! Without its hardware security module the program refuses to start, and says what to do.

use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use tests::net::{Net, SERVE, program};

#[tokio::test]
async fn a_vault_that_cannot_be_opened_is_not_served() {
    let mut net = Net::start().await.unwrap();
    // The running program holds the vault.
    let second = net.run(&[SERVE]).unwrap_err().to_string();
    assert!(second.contains("another process has the store"), "{second}");
    assert!(!second.contains("admin socket"), "it was not asked, and would answer: {second}");
    net.kill().unwrap();

    let pin = net.directory().join("pin");
    let right = std::fs::read(&pin).unwrap();
    std::fs::write(&pin, "0000").unwrap();
    let wrong = net.run(&[SERVE]).unwrap_err().to_string();
    assert!(wrong.to_lowercase().contains("pin"), "{wrong}");
    assert!(!wrong.contains("0000"), "the PIN is in the message: {wrong}");
    std::fs::write(&pin, right).unwrap();

    let tokens = net.directory().join("tokens");
    let away = net.directory().join("tokens-away");
    std::fs::rename(&tokens, &away).unwrap();
    std::fs::create_dir(&tokens).unwrap();
    let missing = net.run(&[SERVE]).unwrap_err().to_string();
    assert!(missing.contains("token"), "{missing}");
    std::fs::remove_dir_all(&tokens).unwrap();
    std::fs::rename(&away, &tokens).unwrap();

    // And as it was, it is served again.
    net.serve().await.unwrap();
    assert_eq!(net.send("GET", "/Utils/apiKey", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_vault_is_never_made_over_another() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    let said = net.run(&["vault", "init"]).unwrap_err().to_string();
    assert!(!said.is_empty());
    net.serve().await.unwrap();
    assert_eq!(
        net.send("GET", "/PaymentGatewayAccounts", None)
            .await
            .unwrap()
            .json()
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test]
async fn what_was_not_done_is_not_told_as_done() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    // A program that ends: it takes connections and hangs up, before or after the request.
    let socket = net.directory().join("admin.sock");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let backup = net.directory().join("backup");
    for _ in 0..20 {
        for arguments in
            [&["keys", "revoke", "8jZq0TxWb3Lm"][..], &["vault", "backup", "--to", "backup"]]
        {
            let done = net.command(arguments).unwrap().current_dir(net.directory()).output();
            let done = done.unwrap();
            assert!(!done.status.success() && !done.stderr.is_empty(), "{arguments:?}: {done:?}");
        }
    }
    assert!(!backup.exists());
    std::fs::remove_file(&socket).unwrap();

    // Whoever reads the output may have seen enough of it, and that is no error.
    let mut command = net.command(&["vault", "status"]).unwrap();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn the_kernel_is_asked_for_small_pages_only() {
    let net = Net::start().await.unwrap();
    let status = format!("/proc/{}/status", net.process().unwrap());
    let told = std::fs::read_to_string(status).unwrap();
    let line = told.lines().find(|line| line.starts_with("THP_enabled"));
    // A kernel without huge pages has no such line.
    assert!(line.is_none_or(|line| line.ends_with('0')), "{line:?}");
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_kernel_gives() {
    let mut net = Net::start().await.unwrap();
    net.kill().unwrap();
    // So few, as a shell or a service manager may begin with.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -Sn 256 && exec \"$@\"", "sh"])
        .arg(program().unwrap())
        .args([SERVE, "--conf"])
        .arg(net.directory().join("orchestra.yaml"))
        .env("SOFTHSM2_CONF", net.directory().join("softhsm2.conf"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ready = net.ready().await;
    let told = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    ready.unwrap();
    let told = told.unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut limits = line.split_whitespace();
    let (now, most) = (limits.next(), limits.next());
    assert!(now.is_some() && now == most, "{line}");
}
