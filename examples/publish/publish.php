<?php // php -S 127.0.0.1:3000 publish.php; needs php-curl
$riacho = getenv('RIACHO') ?: 'http://127.0.0.1:4700';
$key = bin2hex(random_bytes(16));
$curl = curl_init("$riacho/streams/orders?type=placed");
curl_setopt_array($curl, [
    CURLOPT_POSTFIELDS => file_get_contents('php://input'),
    CURLOPT_HTTPHEADER => ['Content-Type: application/json', "Idempotency-Key: $key"],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 10,
]);
// Where no answer came, it is sent again: the same key is the same event.
for ($tries = 10; $tries > 0; $tries--) {
    $answer = curl_exec($curl);
    $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
    if ($answer !== false && $status < 500) break;
    sleep(1);
}
http_response_code($status ?: 502);
header('Content-Type: application/json');
echo $answer ?: '{}';
