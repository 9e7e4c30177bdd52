"""`velib adopt`: the feed's topics and database, in a Kafka or PostgreSQL that is given, from a home that is gone."""

from collections.abc import Callable

from velib_dagster.runtime.errors import PlatformError
from velib_dagster.settings import Settings


def adopt(settings: Settings, say: Callable[[str], None]) -> None:
    """Make the home the one that writes the feed's topics and database; a second time changes nothing.

    Raises:
        PlatformError: neither Kafka nor PostgreSQL is given by address, or there is no such home.
        KafkaError, StoreError: one of them can't be reached.
    """
    from velib_dagster.events.producer import EventProducer, FencedError  # noqa: PLC0415 - with the Kafka client
    from velib_dagster.store.migrate import migrate  # noqa: PLC0415 - with psycopg

    if not settings.home_id:
        msg = f"there is no platform in {settings.home} yet: velib up or velib prepare makes one"
        raise PlatformError(msg)
    if settings.kafka_address is None and settings.postgres_address is None:
        msg = (
            f"{settings.home} has a Kafka and a PostgreSQL of its own, which are its anyway: velib adopt is for those "
            "of VELIB_KAFKA and VELIB_POSTGRES"
        )
        raise PlatformError(msg)
    if settings.postgres_address is not None:
        migrate(settings, adopt=True)
        say(f"the database {settings.database} is written by {settings.home} from now on")
    if settings.kafka_address is not None:
        try:
            with EventProducer(settings, adopt=True) as producer:
                told = producer.adopt()
        except FencedError as error:
            msg = f"a producer of the feed {settings.feed.name} is still at work: stop that platform first"
            raise PlatformError(msg) from error
        what = "are written" if told else "hold no poll yet, and will be written"
        say(f"the topics {settings.topic('…')} {what} by {settings.home} from now on")
