-- The alternative for those who want no loader: ClickHouse's own Kafka engine reads the topic.
--
-- **At least once, not exactly once.** The engine commits its offsets after the insert, so whatever it inserted before a crash
-- and had not committed comes a second time, in the rows and in the sums. Where that matters, run `fingerpost load` instead.
-- Audit: count() against uniqExact(source, partition, offset).
--
-- 1. Run `fingerpost migrate`. 2. Put your brokers, topic, and database in the place of kafka:9092, fingerpost.events and
-- `fingerpost`. 3. Run this file: clickhouse-client --multiquery < kafka-engine.sql. To go over to the loader: drop the
-- tables and views of this file, then start it with the topic's name as its source; it goes on behind the highest offset that is here.
--
-- Needs ClickHouse 25.8 or newer for the schema in place (format_schema_source). Before that, copy config/proto/fingerpost.proto
-- into the server's format_schema_path and say kafka_schema = 'fingerpost.proto:Event' instead of the three format_ settings.
CREATE TABLE fingerpost.kafka_events (
    id String, kind Int32, class Int32, time_ms Int64, program String, link String, partner String, ad String, slug String,
    channel String, visitor String, country String, region String, city String, network String, address String,
    referrer String, language String, device Int32, browser String, os String, sub1 String, sub2 String, sub3 String,
    sub4 String, sub5 String, reason String, named String, click String, rule UInt32, count UInt64
) ENGINE = Kafka
SETTINGS kafka_broker_list = 'kafka:9092',
         kafka_topic_list = 'fingerpost.events',
         kafka_group_name = 'fingerpost-engine',
         kafka_format = 'ProtobufSingle',
         kafka_num_consumers = 1,
         kafka_max_block_size = 100000,
         kafka_flush_interval_ms = 1000,
         -- A record that is no event does not stop the rest: see the second view.
         kafka_handle_error_mode = 'stream',
         format_schema_source = 'string',
         format_schema_message_name = 'Event',
         format_schema = 'syntax = "proto3";
package fingerpost.v1;
enum Kind {
  KIND_UNSPECIFIED = 0;
  CLICK = 1;
  VIEW = 2;
  SHARE = 3;
  LEAD = 4;
  CONVERSION = 5;
  REFUND = 6;
  REWARD = 7;
  MISSING = 15;
}
enum Class {
  CLASS_UNSPECIFIED = 0;
  HUMAN = 1;
  REPEAT = 2;
  BOT = 3;
  PREVIEW = 4;
  PREFETCH = 5;
  HEAD = 6;
  OWNER = 7;
  TEST = 8;
}
enum Device {
  DEVICE_UNSPECIFIED = 0;
  DESKTOP = 1;
  MOBILE = 2;
  TABLET = 3;
  TV = 4;
  OTHER = 5;
}
message Event {
  bytes id = 1;
  Kind kind = 2;
  Class class = 3;
  int64 time_ms = 4;
  string program = 5;
  string link = 6;
  string partner = 7;
  string ad = 8;
  string slug = 9;
  string channel = 10;
  bytes visitor = 11;
  string country = 12;
  string region = 13;
  string city = 14;
  string network = 15;
  bytes address = 16;
  string referrer = 17;
  string language = 18;
  Device device = 19;
  string browser = 20;
  string os = 21;
  string sub1 = 22;
  string sub2 = 23;
  string sub3 = 24;
  string sub4 = 25;
  string sub5 = 26;
  string reason = 27;
  string named = 28;
  bytes click = 29;
  uint32 rule = 30;
  uint64 count = 31;
  uint64 sequence = 32;
}';

-- Takes nothing up: it only hands on what it is given, to the two views below.
CREATE TABLE fingerpost.kafka_checked (
    id String, kind Int8, class Int8, time_ms Int64, program String, link String, partner String, ad String, slug String,
    channel String, visitor String, country String, region String, city String, network String, address String,
    referrer String, language String, device Int8, browser String, os String, sub1 String, sub2 String, sub3 String,
    sub4 String, sub5 String, reason String, named String, click String, rule UInt32, count UInt64, source String,
    partition UInt32, offset UInt64, body String, wrong String
) ENGINE = Null;

-- The checks are those of src/store/record.rs. What a later version sends and this one does not know is ''.
CREATE MATERIALIZED VIEW fingerpost.kafka_checked_mv TO fingerpost.kafka_checked AS
SELECT k.id AS id,
       if(k.kind BETWEEN 0 AND 7 OR k.kind = 15, k.kind, 0) AS kind,
       if(k.class BETWEEN 0 AND 8, k.class, 0) AS class,
       k.time_ms AS time_ms, program, link, partner, ad, slug, channel, k.visitor AS visitor, country, region, city, network,
       k.address AS address, referrer, language, if(k.device BETWEEN 0 AND 5, k.device, 0) AS device, browser, os,
       sub1, sub2, sub3, sub4, sub5, reason, named, k.click AS click, rule, greatest(k.count, 1) AS count,
       _topic AS source, _partition AS partition, _offset AS offset, _raw_message AS body,
       multiIf(_error != '', 'not an event: ' || _error,
               length(k.id) != 16, 'id is not 16 bytes',
               k.time_ms < 0 OR k.time_ms > 4102444799999, 'time_ms is not between the years 1970 and 2099',
               k.count > 1099511627776, 'count is more than one row can stand for',
               length(k.visitor) NOT IN (0, 16), 'visitor is not 16 bytes',
               length(k.click) NOT IN (0, 16), 'click is not 16 bytes',
               length(k.address) NOT IN (0, 3, 6), 'address is not cut to 3 or 6 bytes',
               '') AS wrong
FROM fingerpost.kafka_events AS k;

CREATE MATERIALIZED VIEW fingerpost.kafka_events_mv TO fingerpost.events AS
SELECT toUUID(UUIDNumToString(toFixedString(substring(c.id, 1, 16), 16))) AS id, kind, class,
       fromUnixTimestamp64Milli(c.time_ms, 'UTC') AS time, program, link, partner, ad, slug, channel,
       if(c.visitor = '', NULL, toUUID(UUIDNumToString(toFixedString(substring(c.visitor, 1, 16), 16)))) AS visitor,
       country, region, city, network,
       multiIf(length(c.address) = 3,
                   IPv4NumToString(reinterpretAsUInt32(reverse(substring(c.address, 1, 3) || '\0'))) || '/24',
               length(c.address) = 6,
                   IPv6NumToString(toFixedString(substring(c.address, 1, 6), 16)) || '/48',
               '') AS address,
       referrer, language, device, browser, os, sub1, sub2, sub3, sub4, sub5, reason, named,
       if(c.click = '', NULL, toUUID(UUIDNumToString(toFixedString(substring(c.click, 1, 16), 16)))) AS click,
       rule, count, source, partition, offset, now() AS loaded_at
FROM fingerpost.kafka_checked AS c WHERE wrong = '';

-- The bytes of a record that could be read but is wrong are in Kafka only; the engine hands out those it could not read.
CREATE MATERIALIZED VIEW fingerpost.kafka_set_aside_mv TO fingerpost.set_aside AS
SELECT source, partition, offset, wrong AS reason, body, now64(3, 'UTC') AS at
FROM fingerpost.kafka_checked WHERE wrong != '';
