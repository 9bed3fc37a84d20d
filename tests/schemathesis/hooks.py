"""Makes requests that fit the schema also mean something.

Some rules of the API cannot be said in JSON Schema: how many decimal places a currency has, the
check digit of a card number, that a card has not expired, which accounts, tokens, gateways and
payments there are, and what a gateway asks of its own accounts. A generated request that breaks one
of them is refused, rightly, and then tests nothing behind that rule. So before it is sent, exactly
the values that break such a rule are replaced; all others stay as they were generated. Requests
that were made to be wrong are left alone: a hook that mended them would hide what it should find.
"""

import datetime
import decimal
import hashlib
import hmac
import json
import os
import time
import uuid
import zlib

import requests
import schemathesis

URL = os.environ["ORCHESTRA_URL"]
CA = os.environ["ORCHESTRA_CA"]
KEY_FILE = os.environ["ORCHESTRA_KEY_FILE"]
TIMEOUT_S = 30

# The accounts that scripts/demo.sh makes, by gateway.
ACCOUNTS = {
    "stripe-primary": "Stripe",
    "adyen-backup": "Adyen",
    "null-success": "NULLSuccess",
    "null-failure": "NULLFailure",
}
# The account that rotations are tried with.
STAGED = "rotated"
# The account that webhooks are sent to, and what they are signed with.
HOOKED = "hooked"
HOOK_SECRET = "whsec_demoOfOrchestra0123456789"
# The account whose gateway asks for a proof that it is heard.
PROVING = "proving"
PROVING_CREDENTIALS = {
    "PublicKey": "demo_of_orchestra",
    "PrivateKey": "0123456789abcdef0123456789abcdef",
    "Currency": "USD",
    "Environment": "Test",
}
# What the gateways require (docs/providers); the sandbox takes any key of the right form.
CREDENTIALS = {
    "Stripe": {"SecretKey": "sk_test_demoOfOrchestra0123456789"},
    "Adyen": {
        "ApiKey": "AQEdemoOfOrchestra0123456789abcdefghij",
        "MerchantAccount": "OrchestraDemoECOM",
    },
    "NULLSuccess": {},
    "NULLFailure": {},
}
# What else there is, by gateway; a value of another form is refused.
OPTIONS = {
    "Stripe": {"StripeAccount": "acct_demoOfOrchestra", "WebhookSecret": HOOK_SECRET},
    "Adyen": {
        "ShopperInteraction": "Ecommerce",
        "RecurringProcessingModel": "CardOnFile",
        "ReturnUrl": "https://return.invalid/",
        "HmacKey": "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056",
    },
    "NULLSuccess": {},
    "NULLFailure": {},
}
PROVIDERS = ("Stripe", "Adyen")

# Decimal places of ISO 4217 where they are not two.
PLACES = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
MINOR_MAX = 999_999_999_999
# Both providers have these, with two decimal places, with none, and with three.
PROVIDER_CURRENCIES = ("CLP", "EUR", "GBP", "JPY", "KWD", "USD")

# An authentication that both providers take.
THREE_DS = {
    "authenticationValue": "AAABBZEEBgAAAAAAAAQGAAAAAAA=",
    "eci": "02",
    "xid": "c2a3b6f0-5c52-4f8a-9d2f-6c1f4a1a7d11",
    "version": "2.2.0",
}
# What is asked of an account that there is.
NAMED = ("PaymentGatewayAccountBalance", "PaymentGatewayAccountValidate")
NEW_PAYMENTS = ("GatewayCharge", "GatewayAuthorize", "GatewayExplain", "GatewayTokenize")


class Fixtures:
    """What the generated requests can name: made once, with the demo's own key."""

    def __init__(self):
        self.session = requests.Session()
        # Neither another authority nor a proxy from outside.
        self.session.trust_env = False
        self.session.verify = CA
        with open(KEY_FILE, encoding="ascii") as file:
            self.session.headers["X-Api-Key"] = file.read().strip()
        self.card = self.token("4242424242424242")
        accounts = {ACCOUNTS[name]: name for name in ("stripe-primary", "adyen-backup")}
        self.payments = {
            gateway: self.payment(name)["gatewayReference"] for gateway, name in accounts.items()
        }
        self.kept = {gateway: self.keep(name) for gateway, name in accounts.items()}
        credentials = {**CREDENTIALS["Stripe"], "WebhookSecret": HOOK_SECRET}
        self.store(HOOKED, "Stripe", credentials)
        self.store(PROVING, "Braintree", PROVING_CREDENTIALS)
        # One that captures, refunds and voids may ask for, and be refused.
        self.transaction = self.payment("null-success")["transactionId"]

    def token(self, payload):
        return self.post("/StringTokens", {"payload": payload})["token"]

    def of(self, account):
        card = {
            "cardHolderName": "Ann Example",
            "cardNumber": "@" + self.card,
            "expirationMonth": 12,
            "expirationYear": next_year(),
        }
        return {"card": card, "paymentGatewayAccountName": account}

    def payment(self, account):
        body = {"currency": "EUR", "amount": 10, **self.of(account)}
        return self.post("/PaymentGateway/authorize", body)

    def keep(self, account):
        return self.post("/PaymentGateway/tokenize", self.of(account))["gatewayToken"]

    def post(self, path, body):
        answer = self.session.post(URL + path, json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.json()

    def staged(self, operation):
        """An account with credentials staged as the operation needs them."""
        path = "/PaymentGatewayAccounts/" + STAGED
        self.put(path, {"paymentGatewayName": "NULLSuccess"})
        if operation != "StagedCredentialsSet":
            self.put(path + "/staged", {"credentials": []})
        if operation == "StagedCredentialsRetire":
            self.post(path + "/staged/switch", {"percent": 100, "force": True})
        return STAGED

    def store(self, name, gateway, credentials):
        pairs = [{"key": key, "value": value} for key, value in credentials.items()]
        body = {"paymentGatewayName": gateway, "credentials": pairs}
        self.put("/PaymentGatewayAccounts/" + name, body)

    def put(self, path, body):
        self.session.put(URL + path, json=body, timeout=TIMEOUT_S).raise_for_status()

    def spared(self, name):
        """Another name or token, if this is one that later requests need."""
        if name in ACCOUNTS or name in (HOOKED, PROVING):
            return name + "-x"
        return name[::-1] if name == self.card else name


def next_year():
    return datetime.date.today().year + 1


FIXTURES = Fixtures()


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    if operation.startswith("StagedCredentials") and is_sound(case):
        # Something to be switched, asked about or retired, at an account that nothing else needs.
        case.path_parameters = {"name": FIXTURES.staged(operation)}
    elif operation == "TransactionsGet" and is_sound(case):
        case.path_parameters = {"id": FIXTURES.transaction}
    elif operation == "WebhookReceive" and is_sound(case):
        signed(case)
    elif operation == "WebhookProve" and is_sound(case):
        case.path_parameters = {"merchant": "demo", "name": PROVING}
    elif operation in NAMED and is_sound(case):
        case.path_parameters = {"name": known(case.path_parameters["name"], ACCOUNTS)}
    elif case.method in ("PUT", "DELETE") and case.path_parameters:
        # What the fixtures are made of is neither overwritten nor deleted.
        names = case.path_parameters.items()
        case.path_parameters = {key: FIXTURES.spared(name) for key, name in names}
    if is_sound(case) and case.headers and "Idempotency-Key" in case.headers:
        # Each request has a key of its own, as it should.
        case.headers["Idempotency-Key"] = uuid.uuid4().hex
    if is_sound(case) and isinstance(case.body, dict):
        case.body = meaningful(operation, case.body)


def signed(case):
    """An event of Stripe, about nothing of ours."""
    event = {"id": "evt_1", "type": "customer.created", "data": {"object": {}}}
    now = str(int(time.time()))
    # As it will be written.
    message = f"{now}.{json.dumps(event)}".encode()
    signature = hmac.new(HOOK_SECRET.encode(), message, hashlib.sha256).hexdigest()
    case.path_parameters = {"merchant": "demo", "name": HOOKED}
    case.headers = {**(case.headers or {}), "Stripe-Signature": f"t={now},v1={signature}"}
    case.body = event


def is_sound(case):
    """Whether all of it was generated to be accepted."""
    return case.meta is not None and case.meta.generation.mode.is_positive


def meaningful(operation, body):
    if operation == "PaymentGatewayAccountSet":
        return account(body)
    if operation == "StagedCredentialsSet":
        # The fixtures' account is of a gateway that has none.
        return {**body, "credentials": []}
    if operation == "StagedCredentialsSwitch":
        return {**body, "force": True}
    if operation == "StoreStringToken":
        return string_token(body)
    return payment(operation, body) if operation.startswith("Gateway") else body


def string_token(body):
    """Bound to gateways that there are, with metadata that could be no card number."""
    body = dict(body)
    terms = [name for name in ("timeToLiveSeconds", "bindings", "metadata") if body.get(name)]
    if terms and len(body["payload"]) in (3, 4) and body["payload"].isascii() and body["payload"].isdigit():
        # A card verification value is held on no other terms.
        body["payload"] += "x"
    if body.get("bindings"):
        name = lambda one: known(one["paymentGatewayName"], CREDENTIALS)
        body["bindings"] = [{**one, "paymentGatewayName": name(one)} for one in body["bindings"]]
    if body.get("metadata"):
        body["metadata"] = [
            {"key": plain(one["key"]), "value": plain(one["value"])} for one in body["metadata"]
        ]
    return body


def plain(text):
    """The text itself, or one without digits if these could be a card number."""
    foreign = any(mark.isnumeric() and not mark.isascii() for mark in text)
    if not foreign and sum(mark.isdigit() for mark in text) < 12:
        return text
    return "".join("x" if mark.isnumeric() else mark for mark in text)


def payment(operation, body):
    body = dict(body)
    if body.get("transactionId") is not None:
        # A payment of ours goes through its own account.
        body["transactionId"] = FIXTURES.transaction
        body["paymentGatewayAccount"] = None
        body["paymentGatewayAccountName"] = "null-success"
    if body.get("fallbackUpgs"):
        body["fallbackUpgs"] = [
            {**one, "paymentGatewayAccountName": known(one["paymentGatewayAccountName"], ACCOUNTS)}
            for one in body["fallbackUpgs"]
        ]
    names = body.pop("paymentGatewayAccountNames", None)
    if names:
        # The older form stands alone.
        names = [known(name, ACCOUNTS) for name in names]
        for other in ("paymentGatewayAccountName", "paymentGatewayAccount", "fallbackUpgs"):
            body.pop(other, None)
        body["paymentGatewayAccountNames"] = names
    inline = body.get("paymentGatewayAccount")
    if names:
        gateway = ACCOUNTS[names[0]]
    elif inline is not None:
        body["paymentGatewayAccount"] = inline = account(inline)
        gateway = inline["paymentGatewayName"]
    else:
        name = body["paymentGatewayAccountName"]
        if name not in ACCOUNTS:
            # Of the gateways only Stripe can be asked for a status, and only two keep cards.
            keepers = [name for name, gateway in ACCOUNTS.items() if gateway in PROVIDERS]
            names = keepers if operation == "GatewayTokenize" else ACCOUNTS
            name = "stripe-primary" if operation == "GatewayStatus" else known(name, names)
        body["paymentGatewayAccountName"] = name
        gateway = ACCOUNTS[name]
    if gateway in PROVIDERS:
        for_provider(gateway, body)
    if "amount" in body:
        body["amount"] = amount(body["amount"], gateway, body["currency"])
    if body.get("card") is not None:
        body["card"] = card(operation, gateway, body["card"])
    return body


def for_provider(gateway, body):
    """What a provider asks beyond what the API does."""
    # Neither has `supportsNetworkToken`.
    body.pop("networkTokenBrand", None)
    if body.get("currency") is not None:
        body["currency"] = known(body["currency"], PROVIDER_CURRENCIES)
    if body.get("refTransId") is not None:
        body["refTransId"] = FIXTURES.payments[gateway]
    if body.get("userToken") is not None:
        body["userToken"] = FIXTURES.kept[gateway]
    if body.get("storedCredential") is not None:
        # Of the other uses each provider asks something of its own, such as its form of an id.
        stored = {**body["storedCredential"], "usage": "First"}
        stored.pop("networkTransactionId", None)
        body["storedCredential"] = stored
    if gateway == "Stripe" and body.get("myRef") is not None:
        # Its search language has no escapes.
        body["myRef"] = "".join("-" if mark in "'\"\\" else mark for mark in body["myRef"])


def card(operation, gateway, body):
    body = dict(body)
    number = body["cardNumber"]
    body["cardNumber"] = "@" + FIXTURES.card if number.startswith("@") else with_check_digit(number)
    if (body.get("cvv") or "").startswith("@"):
        # Such a token is good for one payment.
        body["cvv"] = "@" + FIXTURES.token("737")
    today = datetime.date.today()
    expired = (body["expirationYear"], body["expirationMonth"]) < (today.year, today.month)
    if operation in NEW_PAYMENTS and expired:
        body["expirationYear"] = next_year()
    if gateway in PROVIDERS and body.get("threeDSAuthentication") is not None:
        body["threeDSAuthentication"] = {**body["threeDSAuthentication"], **THREE_DS}
    return body


def account(body):
    """An account of a gateway that there is, with what the gateway requires and nothing strange."""
    gateway = known(body["paymentGatewayName"], CREDENTIALS)
    pairs = credentials(gateway, body.get("credentials"))
    body = {**body, "paymentGatewayName": gateway}
    if pairs or body.get("credentials"):
        body["credentials"] = pairs
    return body


def credentials(gateway, generated):
    """What the gateway requires, and as many of its options as there are other pairs."""
    required = CREDENTIALS[gateway]
    options = list(OPTIONS[gateway].items())[: len(generated or [])]
    return [{"key": key, "value": value} for key, value in [*required.items(), *options]]


def known(value, choices):
    """The value itself if it is one of the choices, or one of them that it decides."""
    if value in choices:
        return value
    return sorted(choices)[zlib.crc32(value.encode()) % len(choices)]


def amount(value, gateway, currency):
    """The value itself if the currency has it, or the next one below that it has."""
    places = PLACES.get(currency, 2)
    # The third place must be 0 at Stripe.
    usable = min(places, 2) if gateway == "Stripe" else places
    most = MINOR_MAX // 10 ** (places - usable)
    steps = decimal.Decimal(repr(value)).scaleb(usable)
    if steps == steps.to_integral_value() and 1 <= steps <= most:
        return value
    steps = max(1, min(int(steps), most))
    return float(decimal.Decimal(steps).scaleb(-usable)) if usable else steps


def with_check_digit(digits):
    """The number with the last digit that makes it one of a card (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits[:-1]))):
        doubled = digit * 2 if place % 2 == 0 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return digits[:-1] + str(-total % 10)
