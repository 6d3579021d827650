import pytest

from align.generate import GenerationError
from align.generate.server import ServerEngine
from tests.generate.asking import ask, echo, error, eventually, served
from tests.generate.scripted_server import Reply, ScriptedServer


def test_the_fingerprint_holds_what_the_server_tells_of_the_weights_but_not_when_it_started():
    def fingerprint(**told):
        with served(echo, models=[{"id": "m", **told}], label="lab") as (_, engine):
            return engine.fingerprint

    assert fingerprint(root="org/m", created=1) == fingerprint(root="org/m", created=2)
    assert fingerprint(root="org/m") != fingerprint(root="org/m2")
    assert fingerprint() == "server:lab:m"


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_url_is_taken_however_much_of_its_path_it_has(end):
    with ScriptedServer(echo) as server:
        engine = ServerEngine(server.url.removesuffix("/v1") + end, "m")
        assert ask(engine)[0].text == "to question 0"
        assert engine.fingerprint == f"server:{server.url}:m"


@pytest.mark.parametrize("path", ["/v1beta/openai", "/api/paas/v4"])
def test_another_version_in_the_path_is_left_alone(path):
    engine = ServerEngine("http://localhost:1" + path, "m", retries=0)
    with pytest.raises(GenerationError, match=f"^http://localhost:1{path}: "):
        engine.connect()


@pytest.mark.parametrize(
    "url", ["localhost:8000", "", "http://", "http://a:b@host/v1", "ftp://h", "http://h:x/v1"]
)
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(GenerationError, match="url"):
        ServerEngine(url, "m")


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
def test_a_key_that_can_be_none_is_refused_and_not_shown(key):
    with pytest.raises(GenerationError, match="API key") as error:
        ServerEngine("http://localhost:1", "m", api_key=key)
    assert key not in str(error.value)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_list_of_models_is_asked_all_the_same(status):
    with served(echo, models=Reply(b"{}", status)) as (server, engine):
        assert ask(engine)[0].text == "to question 0"
        assert engine.fingerprint == f"server:{server.url}:m"


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), r"401: bad key.*api_key"),
        (Reply({"error": {"message": "not yours"}}, 403), r"refuses this key.*not yours"),
        (Reply({"error": "crashed"}, 500), r"http_500: crashed"),
        (Reply(b"<html>welcome</html>"), r"url that of an API"),
        (["qwen-m", "unlike"], r"no model 'm'.*'qwen-m'"),
    ],
)
def test_a_server_that_can_answer_nothing_is_an_error_that_says_what_to_do(models, says):
    with served(echo, models=models) as (server, engine):
        with pytest.raises(GenerationError, match=says):
            ask(engine)
        assert server.num_asked == 0
        assert eventually(lambda: engine.in_flight == 0)


def test_a_server_that_is_not_there_is_an_error_after_a_few_tries():
    with ScriptedServer(echo) as server:
        pass
    engine = ServerEngine(server.url, "m", backoff_s=0.001)
    with pytest.raises(GenerationError, match=r"can't be reached.*\(try 4, the last\)"):
        engine.connect()


def test_a_key_refused_on_the_way_ends_the_call():
    def script(request, number):
        return error(401, "expired") if number == 20 else "yes"

    with served(script, max_concurrency=4) as (server, engine):
        with pytest.raises(GenerationError, match="401: expired"):
            ask(engine, 2000)
        assert eventually(lambda: engine.in_flight == 0)
        assert server.num_asked < 200


def test_a_server_that_is_known_is_not_needed_until_it_is_asked():
    engine = ServerEngine("http://127.0.0.1:1/v1", "m", known_as="server:x:m", backoff_s=0.001)
    with engine:
        assert engine.fingerprint == "server:x:m"
        with pytest.raises(GenerationError):
            ask(engine)


def test_a_server_that_has_become_another_is_an_error():
    with ScriptedServer(echo, models=[{"id": "m", "root": "new"}]) as server:
        with ServerEngine(server.url, "m", label="x") as engine:
            known = engine.fingerprint.replace("new", "old")
        with (
            ServerEngine(server.url, "m", label="x", known_as=known) as engine,
            pytest.raises(GenerationError, match=r"is now .*root=new, and was .*root=old"),
        ):
            ask(engine)
