"""What is masked, and what must not be. No secret here was ever one; they are put together so that no scanner calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.secrets import mask

B64 = "Zm9vYmFyIGJheiBxdXV4IGNvcmdlIGdyYXVsdCBnYXJwbHkgd2FsZG8gZnJlZA"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{B64}\n{B64}\n-----END RSA PRIVATE KEY-----"
SECRETS = {
    "AKIA" + "Q3EGRJ5NZ7KDW2LP": "aws-access-key",
    "ghp_" + "a8Kd02mXq7Lw5Rt9Zy3Bn6Vc1Hj4Gf0Ps2Qe": "github-token",
    "github_pat_" + "11ABCDE0A0" * 6: "github-token",
    "glpat-" + "x7Rk29sLqWv4Nz8TbYcD": "gitlab-token",
    "sk-ant-" + "api03-Qm7Zx2Lw9Kd4Rt8Vb1Nc6Hj3": "anthropic-key",
    "sk-proj-" + "Qm7Zx2Lw9Kd4Rt8Vb1Nc6Hj3Pf5": "openai-token",
    "AIza" + "SyD8kQ2mZx7Lw9Kd4Rt8Vb1Nc6Hj3Pf5a-B": "google-api-key",
    "hf_" + "QmZxLwKdRtVbNcHjPfQmZxLwKdRtVbNcHjPf": "hugging-face-token",
    "xoxb-" + "283746192837-283746192838-Qm7Zx2Lw9Kd4Rt8Vb1Nc6Hj3": "slack-token",
    "sk_live_" + "Qm7Zx2Lw9Kd4Rt8Vb1Nc6Hj3": "stripe-access-key",
    "SG." + "Qm7Zx2Lw9Kd4Rt8Vb1Nc6H" + "." + "Qm7Zx2Lw9Kd4Rt8Vb1Nc6Hj3Pf5Qm7Zx2Lw9Kd4Rt8V": "sendgrid-api-key",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "dBjftJeZ4CVPmB92K27uhbUJU1p1rwW1gFWFOEjXkgw": "json-web-token",
    KEY: "private-key",
    KEY.replace("\n", "\\n"): "private-key",
    KEY[: len(KEY) // 2]: "private-key",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{B64}\n-----END OPENSSH PRIVATE KEY-----": "private-key",
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "Use {} for it.", 'x = "{}"', "- `{}`", "\n{}\n", "See {}\nand that."])
def test_secrets_are_masked_whole(secret: str, around: str) -> None:
    text = around.format(secret)
    masked = mask(text)
    if secret == KEY[: len(KEY) // 2]:  # a key without an end takes letters that follow
        assert secret not in masked.text and masked.text.startswith(around.split("{")[0])
        return
    kinds = {kind for *_, kind in masked.spans}
    assert SECRETS[secret] in kinds or kinds == {"secret-keyword"}, masked.text
    assert masked.text == around.format(f"[REDACTED:{masked.spans[0][2]}]")


@pytest.mark.parametrize(
    "text",
    [
        'password = "{}"', "password: '{}'", "DB_PASSWORD={}", "export API_KEY={}", '{{"api_key": "{}"}}',
        'auth_token => "{}"', "secret := `{}`", "Password: {}", "Authorization: Bearer {}", "https://bob:{}@host/x",
        'client.connect(password="{}")', "The password is below.\npassword: {}\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("secret", ["hunter2!x9", "Tr0ub4dor&3", "9f8e7d6c5b4a39281706", "q7W-e9R_t2Y8u"])
def test_what_a_name_calls_a_secret_is_masked(text: str, secret: str) -> None:
    masked = mask(text.format(secret))
    assert secret not in masked.text
    assert masked.text.startswith(text.format("|").split("|")[0])


@pytest.mark.parametrize(
    "text",
    [
        "The commit is 9fceb02d0ae598e95dc970b74767f19372d61af8, of 2020.",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "id = '123e4567-e89b-12d3-a456-426614174000'",
        "key = 'en_US.UTF-8'",
        "primary_key = 'user_id'",
        'password = "password123"', 'api_key="YOUR_API_KEY_2"', "password = os.environ['PASSWORD_2']",
        'token = "<token-1>"', "token = get_token1(request)", "secret = settings.SECRET_KEY_2",
        "password: str = field1",
        "Set password=${DB_PASSWORD1} first.", "postgres://user:password@localhost/db", "https://user:pass@example.com",
        "Your password must have 8 characters and 1 number.", "The secret of 1984 is out.", "tokens: 1200 of 4096",
        "max_tokens=1024", "the token limit 128000tokens", "APPLICATION APARTMENTS APCompatibleThing",
        "ghp_" + "x" * 36, "continuation_token: TOK_STREAM_HOP1_B64", "https://host:8080/a@b", "sk-learn and sk-image",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text).text == text


PHONES = [
    "+1 212 555 0123", "+12125550123", "+44 20 7946 0958", "+44 (0)20 7946 0958", "+49 30/123456", "+33 1 23 45 67 89",
    "+81-90-1234-5678", "(212) 555-0123", "212-555-0123", "212.555.0123", "1-800-555-0199", "020 7946 0958",
    "01632 960001", "0171/1234567", "030 12345678", "(030) 123456", "090-1234-5678", "01 23 45 67 89", "0049 30 123456",
]  # fmt: skip


@pytest.mark.parametrize("phone", PHONES)
@pytest.mark.parametrize("around", ["{}", "Ring {}.", "Call us at {}, or write.", "Tel: {}\nNext", "({})"])
def test_phone_numbers(phone: str, around: str) -> None:
    text = around.format(phone)
    assert mask(text, pii=True).text == around.format("[REDACTED:phone]")
    assert mask(text).text == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to dana.w+x@mail.example.co.uk.", "Write to [REDACTED:email]."),
        ("<o'neil@example.org>, b@c.de", "<[REDACTED:email]>, [REDACTED:email]"),
        ("phone: 5550123", "phone: [REDACTED:phone]"),
        ("My mobile number is 7700 900 123.", "My mobile number is [REDACTED:phone]."),
        ("Fax 555-0199", "Fax [REDACTED:phone]"),
    ],
)
def test_personal_data(text: str, expected: str) -> None:
    assert mask(text, pii=True).text == expected


@pytest.mark.parametrize(
    "text",
    [
        "2020-03-03", "03-03-2020", "3.3.2020", "03/03/2020", "2020-03-03 12:30:45", "2020-03-03T12:30:45+01:00",
        "from 1871 to 1874", "1998-2003", "1.2.3.4", "v2.13.0", "192.168.100.200", "10.0.0.1:8080",
        "ISBN 978-3-16-148410-0",
        "ISBN 0-306-40615-2", "ISSN 0317-8471", "9876543210", "1234567890123456", "4111 1111 1111 1111",
        "$1,234,567.89",
        "3.14159265", "0.0123 456", "order 12345-67890", "ID 550e8400-e29b-41d4-a716-446655440000",
        "5,200 granite blocks",
        "10 000 000", "12 345 678", "01 02 03 04 05", "0010 0000", "0x1234 5678", "PMC-123-4567", "RFC 2822",
        "1-2-3-4-5",
        "+1.5", "+100", "x+1234567", "a[0123456]", "@@ -101,13 +101,14 @@", "300 400 5000", "100-200-3000",
        "12:30-13:45",
        "Phone 2 was older.", "phone 12 Pro", "call me on 2020-03-03", "mobile 4.15.2.1", "@app.route", "react@18.2.0",
        "git@github.com:a/b.git", "user@localhost", "foo@", "046110 2008",
    ],
)  # fmt: skip
def test_what_is_no_personal_data_stays(text: str) -> None:
    for around in ("{}", "It is {} now.", "{}\n{}"):
        assert mask(around.format(text, text), pii=True).text == around.format(text, text)


PARTS = st.lists(
    st.sampled_from([*SECRETS, *PHONES, "a@b.org", "password: hunter2!x9", "word", "é😀", " ", "\n", ", "]), max_size=12
)


@given(PARTS.map(" ".join), st.booleans())
def test_places_outside_of_masks_are_those_of_the_text(text: str, pii: bool) -> None:
    masked = mask(text, pii=pii)
    at = 0
    for start, end, kind in [*masked.spans, (len(masked.text), len(masked.text), "")]:
        first, last = masked.original(at), masked.original(start)
        if start > at:
            assert text[first : first + start - at] == masked.text[at:start]
            assert last - first >= start - at or kind
        assert not kind or masked.text[start:end] == f"[REDACTED:{kind}]"
        at = end
    assert masked.original(len(masked.text)) == len(text)
    assert not mask(masked.text).spans
    assert sum(masked.within(0, len(masked.text)).values()) == len(masked.spans)


def test_overlaps_are_one_and_counted_once() -> None:
    masked = mask('password = "' + "AKIA" + 'Q3EGRJ5NZ7KDW2LP"')
    assert masked.text == f'password = "[REDACTED:{masked.spans[0][2]}]"' and len(masked.spans) == 1


def test_time_is_linear() -> None:
    """Each of these would take minutes by patterns that go back."""
    for part in (
        "://a",
        "eyJ",
        "password",
        "-----BEGIN RSA PRIVATE KEY-----",
        "0",
        "1 ",
        "a@",
        "0123456789",
        "aws_key ",
        "+1 2",
    ):
        mask(part * (60_000 // len(part)), pii=True)
