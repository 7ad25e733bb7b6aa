"""Over TLS: who the server is gets checked, by default (S35, S38)."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from jobqueue.broker.redis_streams import RedisStreamsBroker
from jobqueue.config import PostgresSettings
from jobqueue.embedded import PostgresServer, RedisServer
from jobqueue.errors import JobQueueError
from jobqueue.repository.postgres.database import Database
from tests.security.certificates import Certificates, make_certificates
from tests.security.tls_front import tls_front


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certificates]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


async def redis_says(url: str, namespace: str) -> str:
    """What comes of asking a broker for its queues: "ok", or the error with its causes."""
    broker = RedisStreamsBroker(url, namespace=namespace, timeout=timedelta(seconds=3))
    try:
        return "ok" if await broker.queues() == [] else "queues"
    except JobQueueError as error:
        return _told(error)
    finally:
        await broker.close()


async def postgres_says(url: str) -> str:
    database = Database(PostgresSettings(url=url))
    try:
        async with database.transaction() as session:
            return "ok" if await session.value("SELECT 1") == 1 else "rows"
    except JobQueueError as error:
        return _told(error)
    finally:
        await database.close()


def _told(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__
    return " | ".join(texts)


# Redis


async def test_redis_of_a_known_authority_is_used(
    valkey: RedisServer, certificates: Certificates, namespace: str
) -> None:
    async with tls_front(valkey.port, certificates.server) as port:
        said = await redis_says(f"rediss://localhost:{port}/0?ssl_ca_certs={certificates.authority}", namespace)

    assert said == "ok"


@pytest.mark.parametrize("query", ["", "?ssl_ca_certs={authority}"], ids=["system's authorities", "our authority"])
async def test_a_self_signed_redis_is_refused(
    valkey: RedisServer, certificates: Certificates, namespace: str, query: str
) -> None:
    async with tls_front(valkey.port, certificates.self_signed) as port:
        said = await redis_says(
            f"rediss://localhost:{port}/0{query.format(authority=certificates.authority)}", namespace
        )

    assert "certificate verify failed" in said


async def test_a_certificate_for_another_name_is_refused(
    valkey: RedisServer, certificates: Certificates, namespace: str
) -> None:
    async with tls_front(valkey.port, certificates.server) as port:
        said = await redis_says(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates.authority}", namespace)

    assert "certificate verify failed" in said
    assert "mismatch" in said


async def test_a_redis_that_speaks_no_tls_is_not_spoken_to_without(valkey: RedisServer, namespace: str) -> None:
    said = await redis_says(f"rediss://localhost:{valkey.port}/0", namespace)

    assert said != "ok"
    assert "localhost" in said


async def test_mutual_tls_asks_for_our_certificate(
    valkey: RedisServer, certificates: Certificates, namespace: str
) -> None:
    ours = f"&ssl_certfile={certificates.client.cert}&ssl_keyfile={certificates.client.key}"
    async with tls_front(valkey.port, certificates.server, clients_of=certificates.authority) as port:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificates.authority}"

        assert await redis_says(url + ours, namespace) == "ok"
        assert await redis_says(url, namespace) != "ok"


async def test_a_cluster_and_sentinels_are_checked_alike(
    valkey: RedisServer, certificates: Certificates, namespace: str
) -> None:
    async with tls_front(valkey.port, certificates.self_signed) as port:
        cluster = await redis_says(f"rediss+cluster://localhost:{port}", namespace)
        sentinel = await redis_says(f"rediss+sentinel://localhost:{port}/name", namespace)

    assert "ok" not in (cluster, sentinel)
    assert "certificate verify failed" in cluster


# Postgres


def secure(postgres: PostgresServer, port: int, host: str, certificates: Certificates, mode: str) -> str:
    parts = urlsplit(postgres.url)
    return (
        f"postgresql://{parts.username}@{host}:{port}{parts.path}?sslmode={mode}&sslrootcert={certificates.authority}"
    )


async def test_a_postgres_that_proves_who_it_is_is_used(postgres: PostgresServer, certificates: Certificates) -> None:
    async with tls_front(postgres.port, certificates.server, postgres=True) as port:
        said = await postgres_says(secure(postgres, port, "localhost", certificates, "verify-full"))

    assert said == "ok"


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_a_self_signed_postgres_is_refused(
    postgres: PostgresServer, certificates: Certificates, mode: str
) -> None:
    async with tls_front(postgres.port, certificates.self_signed, postgres=True) as port:
        said = await postgres_says(secure(postgres, port, "localhost", certificates, mode))

    assert "certificate verify failed" in said


async def test_a_postgres_of_another_name_is_refused(postgres: PostgresServer, certificates: Certificates) -> None:
    async with tls_front(postgres.port, certificates.server, postgres=True) as port:
        said = await postgres_says(secure(postgres, port, "127.0.0.1", certificates, "verify-full"))

    assert "mismatch" in said


@pytest.mark.parametrize("mode", ["require", "verify-full"])
async def test_a_postgres_that_speaks_no_tls_is_not_spoken_to_without(
    postgres: PostgresServer, certificates: Certificates, mode: str
) -> None:
    said = await postgres_says(secure(postgres, postgres.port, "localhost", certificates, mode))

    assert said != "ok"
    assert "SSL" in said
