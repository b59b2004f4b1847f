<?php
// PHP with curl, which knows nothing of events: the fields are taken apart here, and the cursor is kept.
$cursor = ''; $retry = 1000; $rest = ''; $event = [];
$line = function (string $line) use (&$cursor, &$retry, &$event): void {
    if ($line === '') {
        // Only now: of an event that is cut the id must not count.
        $cursor = $event['id'] ?? $cursor;
        if (isset($event['data'])) {
            echo json_encode(['type' => $event['event'] ?? 'message', 'data' => $event['data'], 'id' => $cursor]), "\n";
        }
        $event = [];
        return;
    }
    [$name, $value] = explode(':', $line, 2) + [1 => ''];
    $value = str_starts_with($value, ' ') ? substr($value, 1) : $value;
    if ($name === 'data') $event['data'] = isset($event['data']) ? "{$event['data']}\n$value" : $value;
    elseif ($name === 'event') $event['event'] = $value;
    elseif ($name === 'id') $event['id'] = $value;
    elseif ($name === 'retry') $retry = (int) $value;
};
while (true) {
    $rest = ''; $event = [];
    $curl = curl_init($argv[1]);
    curl_setopt_array($curl, [
        CURLOPT_HTTPHEADER => array_merge(['Accept: text/event-stream'], $cursor === '' ? [] : ["Last-Event-ID: $cursor"]),
        CURLOPT_LOW_SPEED_LIMIT => 1,
        CURLOPT_LOW_SPEED_TIME => 45,
        CURLOPT_WRITEFUNCTION => function ($curl, string $chunk) use (&$rest, $line): int {
            // Riacho ends lines in LF.
            $lines = explode("\n", $rest . $chunk);
            $rest = array_pop($lines);
            array_map($line, $lines);
            return strlen($chunk);
        },
    ]);
    curl_exec($curl);
    fwrite(STDERR, curl_error($curl) . "\n");
    usleep($retry * 1000);
}
