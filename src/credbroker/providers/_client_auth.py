"""How a client proves who it is to an issuer: RFC 6749 section 2.3, RFC 7523 (assertions) and RFC 8705 (mutual TLS).

The names of the methods are those of ``token_endpoint_auth_method`` in RFC 7591 section 2 and RFC 8705 section 2.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from pydantic import SecretStr

from credbroker.context import ClientCertificate, Context, HttpRequest, HttpResponse
from credbroker.errors import IssueDenied, SecretNotFound
from credbroker.profile import CredentialSettings, Profile
from credbroker.providers._subject_token import Subject, check_subject, renewed, subject
from credbroker.providers.requirements import misconfigured, settings
from credbroker.request import CredentialRequest
from credbroker.secrets.reference import SecretReference
from credbroker.wire.token import parse_error

BASIC, POST, SECRET_JWT = "client_secret_basic", "client_secret_post", "client_secret_jwt"
KEY_JWT, NONE = "private_key_jwt", "none"
MUTUAL_TLS = ("tls_client_auth", "self_signed_tls_client_auth")
BY_ASSERTION = (SECRET_JWT, KEY_JWT)
METHODS = (BASIC, POST, SECRET_JWT, KEY_JWT, *MUTUAL_TLS, NONE)
_NEEDS: Mapping[str, tuple[str, ...]] = {
    BASIC: ("client_secret",),
    POST: ("client_secret",),
    SECRET_JWT: ("client_secret",),
    KEY_JWT: ("private_key",),
    MUTUAL_TLS[0]: ("certificate", "certificate_key"),
    MUTUAL_TLS[1]: ("certificate", "certificate_key"),
    NONE: (),
}
_PROOFS = ("private_key", "key_id", "signing_alg", "certificate", "certificate_key")
_USES: Mapping[str, frozenset[str]] = {
    method: frozenset(needed) | {SECRET_JWT: {"signing_alg"}, KEY_JWT: {"key_id", "signing_alg"}}.get(method, set())
    for method, needed in _NEEDS.items()
}
_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    SECRET_JWT: ("HS256", "HS384", "HS512"),
    KEY_JWT: ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"),
}
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Fields = Sequence[tuple[str, str | SecretStr]]
"""A form in its order: a name may stand in it several times, which a mapping cannot say (RFC 8707 section 2)."""
_Proof = SecretStr | ClientCertificate | Subject | None


def check_client(profile: Profile, *, may_be_nobody: bool = False) -> None:
    """Raise ``ConfigurationError`` for a method that is unknown, lacks what it needs, or cannot sign by ``signing_alg``.

    ``may_be_nobody`` is for a grant that a client without a name may ask for: with ``none``, ``client_id`` may be absent. So
    it may beside a ``client_assertion``, which says itself who the client is (RFC 7521 section 4.2).
    """
    block = settings(profile)
    method = block.token_endpoint_auth_method
    if method not in METHODS:
        raise misconfigured(profile, "credentials.token_endpoint_auth_method", f"must be one of {', '.join(METHODS)}")
    if block.client_assertion is not None:
        _check_client_assertion(profile, block)
        return
    needed = ("client_id", *_NEEDS[method])
    if may_be_nobody and method == NONE:
        needed = ()
    for name in needed:
        if not getattr(block, name):
            fault = f"is missing: mode 'oauth2' needs it for token_endpoint_auth_method {method!r}"
            raise misconfigured(profile, f"credentials.{name}", fault)
    for name in _PROOFS:
        # Whoever set a key would go on showing the secret, and not know.
        if name not in _USES[method] and getattr(block, name):
            uses = " or ".join(other for other in METHODS if name in _USES[other])
            fault = f"is set, and token_endpoint_auth_method {method!r} does not use it: set {uses}, or leave it out"
            raise misconfigured(profile, f"credentials.{name}", fault)
    known = _ALGORITHMS.get(method)
    if known is not None and block.signing_alg not in (None, *known):
        raise misconfigured(profile, "credentials.signing_alg", f"must be one of {', '.join(known)} for {method}")


def _check_client_assertion(profile: Profile, block: CredentialSettings) -> None:
    field = "credentials.client_assertion"
    if block.token_endpoint_auth_method != KEY_JWT:
        fault = f"is set, and token_endpoint_auth_method is {block.token_endpoint_auth_method!r}: set {KEY_JWT}"
        raise misconfigured(profile, field, f"{fault}, or leave it out")
    own = next((name for name in ("private_key", "key_id", "signing_alg") if getattr(block, name)), None)
    if own is not None:
        raise misconfigured(profile, field, f"is set beside {own}: it is signed by somebody else, leave one of the two out")
    check_subject(profile, "client_assertion")


def refuses_client(response: HttpResponse) -> bool:
    """Whether the client itself was not accepted; Polaris says ``unauthorized_client``, a gateway may say nothing at all."""
    if not 400 <= response.status < 500:
        return False
    code = parse_error(response.body)
    return code == "invalid_client" or (response.status == 401 and code in (None, "unauthorized_client"))


@dataclass(slots=True)
class Client:
    """The client in the requests of one issue, or of one revocation.

    ``audience`` is who the assertions are for that it signs itself; ``request`` is what it asks for. A client that is not
    accepted is presented once more, with another secret, key, certificate or assertion, if there is one: what stands in its
    place by now, or the ``next`` one of a rotation. The same one again could only lock the client out.
    """

    context: Context
    audience: str
    request: CredentialRequest
    _held: _Proof = field(default=None, repr=False)
    _renewed: bool = False

    def post(self, url: str, fields: Fields, headers: Mapping[str, str]) -> HttpResponse:
        """Send the form to ``url`` with the proof of who we are, and return whatever is answered in the end.

        Raises what ``Context.send`` does, what reading the proof does, and ``ConfigurationError`` for a key that cannot be
        used.
        """
        if self._held is None:
            self._held = _first(self)
        answer = self._once(url, fields, headers)
        if not self._renewed and (isinstance(answer, IssueDenied) or refuses_client(answer)):
            self._renewed = True
            other = _other(self._held, self)
            if other is not None:
                self._held = other
                answer = self._once(url, fields, headers)
        if isinstance(answer, IssueDenied):
            raise answer
        return answer

    def _once(self, url: str, fields: Fields, headers: Mapping[str, str]) -> HttpResponse | IssueDenied:
        block = settings(self.context.profile)
        request = _request(self, block, url, fields, headers)
        if isinstance(request, str):
            name = "private_key" if block.token_endpoint_auth_method == KEY_JWT else "client_secret"
            raise misconfigured(self.context.profile, f"credentials.{name}", request)
        try:
            return self.context.send(request)
        except IssueDenied as denied:
            if request.client_certificate is None:
                raise
            return denied  # the certificate, in the handshake: there is no answer then

    @property
    def key(self) -> _Proof:
        """What is presented: a secret, a private key, a certificate with its key, or an assertion of another's making."""
        return self._held


def _first(client: Client) -> _Proof:
    context, block = client.context, settings(client.context.profile)
    if block.token_endpoint_auth_method in MUTUAL_TLS:
        from credbroker.providers._client_certificate import certificate

        return certificate(context)
    if block.client_assertion is not None:
        return subject(client.request, context, key="client_assertion", only_jwt=True)
    reference = _reference(context)
    return None if reference is None else context.secrets.resolve(reference)


def _other(tried: _Proof, client: Client) -> _Proof:
    context = client.context
    if isinstance(tried, Subject):
        return renewed(tried, client.request, context, key="client_assertion")
    if isinstance(tried, ClientCertificate):
        from credbroker.providers._client_certificate import other_certificate

        return other_certificate(tried, context)
    reference = _reference(context)
    for candidate in (reference, reference.successor) if reference is not None else ():
        if candidate is None:
            continue
        try:
            found = context.secrets.resolve(candidate)
        except SecretNotFound:
            continue
        if found != tried:
            return found
    return None


def _reference(context: Context) -> SecretReference | None:
    """Where the secret, or the key, of the profile's method stands."""
    block = settings(context.profile)
    method = block.token_endpoint_auth_method
    if method == KEY_JWT:
        return block.private_key
    return block.client_secret if method in (BASIC, POST, SECRET_JWT) else None


def _client_id(block: CredentialSettings, context: Context) -> SecretStr:
    stated = block.client_id
    client_id = context.secrets.resolve(stated) if isinstance(stated, SecretReference) else SecretStr(stated or "")
    raw = block.token_endpoint_auth_method == BASIC and block.basic_encoding == "raw"
    if raw and ":" in client_id.get_secret_value():
        # RFC 7617 section 2: the issuer would split there, and take the rest for the secret.
        raise misconfigured(context.profile, "credentials.client_id", "has a ':', which basic_encoding: raw cannot carry")
    return client_id


def _request(
    client: Client, block: CredentialSettings, url: str, fields: Fields, headers: Mapping[str, str]
) -> HttpRequest | str:
    """The request, or what is wrong with the key: nothing is raised where the secrets stand open."""
    method, held = block.token_endpoint_auth_method, client.key
    client_id = _client_id(block, client.context)
    name = client_id.get_secret_value()
    own: list[tuple[str, str | SecretStr]] = []
    sent = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json", **headers}
    certificate = held if isinstance(held, ClientCertificate) else None
    if method == BASIC and isinstance(held, SecretStr):
        sent["authorization"] = _basic(client_id, held, raw=block.basic_encoding == "raw")
    elif method in BY_ASSERTION and isinstance(held, SecretStr):
        assertion = _assertion(held, block, name, client)
        if isinstance(assertion, str):
            return assertion
        # RFC 7521 section 4.2: client_id is not needed beside an assertion, and some refuse one that they cannot match.
        own = [("client_id", name), ("client_assertion_type", _ASSERTION_TYPE), ("client_assertion", assertion)]
    elif isinstance(held, Subject):
        own = [("client_id", name)] if name else []
        own += [("client_assertion_type", _ASSERTION_TYPE), ("client_assertion", held.value)]
    elif name:
        # RFC 8705 section 2: with mutual TLS the form says whose certificate it is.
        own = [("client_id", name)]
        if method == POST and isinstance(held, SecretStr):
            own.append(("client_secret", held))
    body = urlencode([(key, _open(value)) for key, value in (*fields, *own)]).encode()
    return HttpRequest("POST", url, sent, body, certificate)


def _assertion(key: SecretStr, block: CredentialSettings, client_id: str, client: Client) -> SecretStr | str:
    from credbroker.providers._assertion import by_key, by_secret, claims

    said = claims(client_id, client.audience, client.context.clock.now())
    if block.token_endpoint_auth_method == SECRET_JWT:
        return by_secret(key, block.signing_alg, said)
    return by_key(key, block.signing_alg, block.key_id, said)


def _basic(client_id: SecretStr, secret: SecretStr, *, raw: bool) -> str:
    """RFC 6749 section 2.3.1: both parts are form-encoded first. Polaris and others split the header without decoding."""
    name, password = client_id.get_secret_value(), secret.get_secret_value()
    if not raw:
        name, password = quote_plus(name), quote_plus(password)
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def _open(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
