//! The vectors of Wycheproof for RFC 5649 with 256-bit keys, through the module: the functions that
//! wrap and unwrap data keys, with given keys in the place of those of the token.

use super::{Connection, KeyType, ObjectClass, init_token, using};
use crate::hsm::Access;
use crate::store::scratch::Scratch;
use cryptoki::object::Attribute;
use cryptoki::types::AuthPin;
use model::Secret;
use std::path::{Path, PathBuf};
use std::process::Command;
use wycheproof::TestResult;

const CHILD: &str = "ORCHESTRA_VECTORS_CHILD";
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

fn module() -> PathBuf {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM is not installed: run `apt-get install softhsm2`")
}

/// SoftHSM finds its tokens by the environment, so the test runs again as a child that has it.
#[expect(clippy::disallowed_methods, reason = "the child learns so that it is one")]
fn in_child(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let scratch = Scratch::new();
    let tokens = scratch.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = scratch.path().join("softhsm2.conf");
    std::fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .envs([(CHILD, Path::new("1")), ("SOFTHSM2_CONF", &conf)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn connection() -> Connection {
    let pin = || Secret::new("canary-pin-58291");
    init_token(&module(), "vectors", &pin(), &pin()).unwrap();
    // Exposed to enter the token.
    let pin = AuthPin::from(pin().expose());
    Connection::open(&Access { module: module(), label: "vectors".into(), pin }, &using()).unwrap()
}

#[test]
fn wycheproof_kwp_through_the_module() {
    in_child("hsm::token::vectors::wycheproof_kwp_through_the_module", || {
        let connection = connection();
        let name = wycheproof::keywrap::TestName::AesKeyWrapWithPadding;
        let set = wycheproof::keywrap::TestSet::load(name).unwrap();
        let (mut run, mut same) = (0, 0);
        for group in set.test_groups.into_iter().filter(|group| group.key_size == 256) {
            for test in group.tests {
                let kek = connection
                    .session
                    .create_object(&[
                        Attribute::Class(ObjectClass::SECRET_KEY),
                        Attribute::KeyType(KeyType::AES),
                        Attribute::Token(false),
                        Attribute::Wrap(true),
                        Attribute::Unwrap(true),
                        Attribute::Value(test.key.to_vec()),
                    ])
                    .unwrap();
                let opened = connection.unwrap_any(kek, &test.ct);
                let wrapped = connection.wrap_any(kek, &test.pt);
                let shown = opened.as_ref().map(|key| key.as_ref().map(|key| key.to_vec()));
                let said = format!("{}: {shown:?}, {wrapped:?}", test.tc_id);
                let opens = opened.is_ok_and(|key| key.is_some_and(|key| *key == test.pt[..]));
                if test.result == TestResult::Valid {
                    assert!(opens, "{said}");
                    // SoftHSM pads a key that is not of whole blocks of 16 bytes before RFC 5649
                    // would, and opens both. Ours have 32 bytes.
                    let wraps = wrapped.is_ok_and(|wrapped| wrapped == test.ct[..]);
                    assert!(wraps || test.pt.len() % 16 > 0, "{said}");
                    same += u32::from(wraps);
                } else {
                    assert!(!opens, "{said}");
                }
                connection.session.destroy_object(kek).unwrap();
                run += 1;
            }
        }
        assert_eq!(run, 94);
        assert!(same >= 7, "{same}");
    });
}
