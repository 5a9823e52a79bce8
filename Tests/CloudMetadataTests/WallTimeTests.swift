// Times as services write them.

import CloudMetadata
import Testing

@Suite struct WallTimeTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", Int64(0)), ("2017-09-18T08:22:00Z", 1_505_722_920),
        ("2024-02-29T23:59:59Z", 1_709_251_199), ("2012-04-27T22:39:16.123456Z", 1_335_566_356),
        ("2017-09-18T10:22:00+02:00", 1_505_722_920), ("2017-09-18T03:22:00-0500", 1_505_722_920),
        ("Mon, 19 Sep 2016 18:29:47 GMT", 1_474_309_787), ("2100-03-01T00:00:00z", 4_107_542_400),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ])
    func `are read`(text: String, seconds: Int64) { #expect(WallTime(text)?.seconds == seconds) }

    @Test(arguments: [
        "", "now", "2017-09-18", "2017-09-18T08:22:00", "2017-13-18T08:22:00Z", "2017-09-32T08:22:00Z",
        "2017-09-18T24:22:00Z", "2017-09-18T08:60:00Z", "2017-09-18T08:22:61Z", "2017-09-18T08:22:00.Z",
        "2017-09-18T08:22:00+2", "-017-09-18T08:22:00Z", "99999999999999999999-09-18T08:22:00Z",
        "2017-09-18T08:22:00Zz", "Mon, 19 Foo 2016 18:29:47 GMT", "Mon, 19 Sep 2016 18:29 GMT",
        "Mon, 19 Sep 2016 18:29:47 CET", "Mon, 99 Sep 2016 18:29:47 GMT", "Mon, 19 Sep 16 18:29:47 GMT",
        "２０１７-09-18T08:22:00Z", String(repeating: "2", count: 1_000), "\0\0\0\0-\0\0-\0\0T\0\0:\0\0:\0\0Z",
    ])
    func `are refused when they are none`(text: String) { #expect(WallTime(text) == nil) }

    @Test func `show their clock`() {
        #expect(WallTime("2017-09-18T08:02:09Z")?.clock == "08:02:09")
        #expect(WallTime(seconds: -1).clock == "23:59:59")
    }
}
