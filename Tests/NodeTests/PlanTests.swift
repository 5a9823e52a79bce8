// What a sample says about the whole: `node plan`.

import ClusterModel
import Foundation
import Testing

@testable import NodeRuntime

@Suite struct PlanForecastTests {
    @Test func `a sample is the same for the same stream, in its order, and each element is as likely`() {
        var first = PlanSample<Int>(limit: 10)
        var second = PlanSample<Int>(limit: 10)
        for number in 0..<1_000 {
            first.add(number)
            second.add(number)
        }
        #expect(first.count == 1_000 && first.elements.count == 10)
        #expect(first.elements == second.elements && first.elements == first.elements.sorted())
        // 2,000 samples of 5 out of 20: each element 500 times, ± 5 standard deviations of 19.4.
        var times = [Int](repeating: 0, count: 20)
        for seed in 0..<2_000 {
            var sample = PlanSample<Int>(limit: 5, seed: UInt64(seed))
            for number in 0..<20 { sample.add(number) }
            for number in sample.elements { times[number] += 1 }
        }
        #expect(times.allSatisfy { (403...597).contains($0) }, "\(times)")
    }

    @Test func `fewer than the sample are all of them`() {
        var sample = PlanSample<Int>(limit: 10)
        for number in 0..<3 { sample.add(number) }
        #expect(sample.elements == [0, 1, 2] && sample.count == 3)
    }

    @Test func `time, money and the interval follow from the mean of what was measured warm`() throws {
        let times = [2.0, 4.0, 6.0, 8.0]
        var measurements = times.map { PlanMeasurement(seconds: $0, confidence: 90) }
        measurements.append(PlanMeasurement(seconds: 500, confidence: 30, isFirst: true))
        measurements.append(PlanMeasurement(failure: Failure(.undecodable, "x")))
        measurements += [
            PlanMeasurement(failure: Failure(.undecodable, "y")), PlanMeasurement(failure: Failure(.timeout, "z")),
        ]
        let forecast = PlanForecast(measurements, imageCount: 7_200, slots: 4, machines: 2, costPerHour: 0.5)
        let seconds = try #require(forecast.secondsPerImage)
        #expect(seconds.value == 5)
        // Standard deviation sqrt(20/3), over 4 of them: 1.2910; 1.96 of that on either side.
        #expect(abs(seconds.high - 5 - 1.96 * 1.29099) < 0.001 && abs(seconds.low - 5 + 1.96 * 1.29099) < 0.001)
        // 3 of 8 fail: 4,500 images of 5 s on 8 slots.
        #expect(abs(try #require(forecast.hours).value - 4_500 * 5 / 3_600 / 8) < 1e-9)
        #expect(
            abs(try #require(forecast.dollars).value - 4_500 * 5 / 3_600 / 8) < 1e-9, "two machines of half a dollar")
        #expect(forecast.confidence == 78 && forecast.lowConfidenceShare == 0.2)
        #expect(forecast.failures.map(\.name) == ["undecodable", "timeout"] && forecast.failures[0].count == 2)
    }

    @Test func `one image says how long, not how certain; none says nothing`() {
        let one = PlanForecast(
            [PlanMeasurement(seconds: 3, isFirst: true)], imageCount: 10, slots: 1, machines: 1, costPerHour: nil)
        #expect(one.secondsPerImage?.value == 3 && one.secondsPerImage?.high == .infinity && one.dollars == nil)
        let none = PlanForecast(
            [PlanMeasurement(failure: Failure(.timeout, "x"))], imageCount: 10, slots: 1, machines: 1, costPerHour: 1)
        #expect(none.hours == nil && none.dollars == nil && none.failedShare == 1 && none.confidence == nil)
    }
}

@Suite struct PlanCommandTests {
    private let directory = NSTemporaryDirectory() + "plan-" + String(UInt64.random(in: 0 ..< .max), radix: 36)

    private func plan(_ arguments: String..., configuration: String = "") throws -> CommandResult {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try configuration.write(toFile: directory + "/plan.conf", atomically: true, encoding: .utf8)
        return CommandResult.run(["plan"] + arguments + ["--config", directory + "/plan.conf"], files: directory)
    }

    @Test func `a sample is recognised without a node, and predicts time and money`() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let result = try plan(
            Places.repository + "/Samples", "--sample", "4", "--workers", "2", "--machines", "10", "--json",
            configuration: "cost_per_hour = 2.5\n")
        #expect(result.exitCode == 0, "\(result.errors)")
        let json = result.json
        #expect(json["images"] as? Int == 7 && json["sample"] as? Int == 4 && json["workers"] as? Int == 2)
        let profiles = try #require(json["profiles"] as? [[String: Any]])
        #expect(profiles.map { $0["profile"] as? String } == ["fast", "best"])
        let seconds = try #require(profiles[0]["seconds_per_image"] as? Double)
        let hours = try #require(profiles[0]["hours"] as? Double)
        #expect(seconds > 0 && abs(hours - seconds * 7 / 3_600 / 2 / 10) < 1e-9)
        #expect(abs(try #require(profiles[0]["dollars"] as? Double) - hours * 25) < 1e-9)
        #expect(try #require(profiles[0]["confidence"] as? Double) > 50)
        if profiles[1]["models"] is NSNull {
            #expect(
                profiles[1]["hours"] is NSNull && (profiles[1]["reason"] as? String)?.contains("tessdata_best") == true)
        }
        #expect(!FileManager.default.fileExists(atPath: directory + "/node-data"), "nothing is kept")
    }

    @Test func `both sets of models are compared where both are there`() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        // The better models need not be installed here: the ordinary ones in another place are as good a second set.
        let best = directory + "/tessdata_best"
        try FileManager.default.createDirectory(atPath: best, withIntermediateDirectories: true)
        let fast = try #require(
            try plan(Places.repository + "/Samples/eng_test.webp", "--json").json["profiles"] as? [[String: Any]])
        let models = try #require(fast[0]["models"] as? String)
        try FileManager.default.createSymbolicLink(
            atPath: best + "/eng.traineddata", withDestinationPath: models + "/eng.traineddata")
        let settings = "[ocr]\ntessdata_best = \"\(best)\"\n"
        let image = Places.repository + "/Samples/eng_test.webp"
        let text = try plan(image, configuration: settings)
        #expect(text.exitCode == 0)
        #expect(text.output.contains("\nfast ") && text.output.contains("\nbest "), "\(text.output)")
        #expect(text.output.contains("no price: name one with --cost-per-hour"))
        let other = try plan(image, "--language", "deu", configuration: settings)
        #expect(other.output.contains("best: no model of deu in \(best)"), "\(other.output) \(other.errors)")
    }

    @Test func `what cannot be planned says why`() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let folder = directory + "/empty"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let empty = try plan(folder)
        #expect(empty.exitCode == 1 && empty.errors.contains("there is no image to plan for"), "\(empty.errors)")
        let language = try plan(Places.repository + "/Samples/eng_test.webp", "--language", "zzz")
        #expect(language.exitCode == 1 && language.output.contains("fast: no model of zzz"), "\(language.output)")
        #expect(try plan().exitCode == 64)
        #expect(try plan("x", "--sample", "0").exitCode == 64)
    }
}
